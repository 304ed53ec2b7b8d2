(function () {
  "use strict";
  const form = document.getElementById("controls");
  const place = document.getElementById("cards");
  const cards = Array.from(place.children);
  const facts = new Map(cards.map(function (card) {
    return [card, { values: JSON.parse(card.dataset.values), place: Number(card.dataset.place) }];
  }));
  const field = function (name) { return form.elements[name]; };
  const plain = ["precision_rank", "shape_rank", "image_rank", "mask_area_mm2", "mask_pixels"];
  const words = function (text) { return text.split(" "); };

  function value(card, name, falling) {
    const found = facts.get(card).values[name];
    if (!found || !found.length) { return null; }
    return falling ? Math.max.apply(null, found) : Math.min.apply(null, found);
  }

  function short(number) {
    const size = Math.abs(number);
    if (size === 0) { return "0"; }
    if (size >= 1000) { return Math.round(number).toLocaleString("en"); }
    return String(Number(number.toPrecision(3)));
  }

  function show(card, name, number) {
    const place = card.querySelector(".by");
    place.hidden = number === null || plain.includes(name);
    place.textContent = name + " ";
    place.append(document.createElement("strong"));
    place.lastChild.textContent = number === null ? "" : short(number);
  }

  function sort() {
    const name = field("by").value;
    const worst = field("by").selectedOptions.length ? field("by").selectedOptions[0].dataset.worst : "";
    const falling = (worst === "high") !== (field("direction").value === "best");
    field("direction").options[0].text = worst ? "worst first" : "lowest first";
    field("direction").options[1].text = worst ? "best first" : "highest first";
    const keyed = cards.map(function (card) {
      // of several lesions the worst counts, even with the best pairs first
      const number = value(card, name, worst ? worst === "high" : falling);
      show(card, name, number);
      return [card, number];
    });
    keyed.sort(function (a, b) {
      if (a[1] === null || b[1] === null) {
        if (a[1] !== b[1]) { return a[1] === null ? 1 : -1; }
      } else if (a[1] !== b[1]) {
        return falling ? b[1] - a[1] : a[1] - b[1];
      }
      return facts.get(a[0]).place - facts.get(b[0]).place;
    });
    place.append.apply(place, keyed.map(function (one) { return one[0]; }));
  }

  function fits(card) {
    const data = card.dataset;
    const text = field("text").value.trim().toLowerCase();
    const sample = field("sample");
    return (!field("dataset").value || data.dataset === field("dataset").value)
      && (!field("kind").value || words(data.kinds).includes(field("kind").value))
      && (!field("mark").value || (field("mark").value === "none" && !data.marks)
        || words(data.marks).includes(field("mark").value))
      && (!sample || !sample.value || data.sample === sample.value)
      && (!text || text.split(/\s+/).every(function (word) { return data.text.includes(word); }));
  }

  function filter() {
    let shown = 0;
    cards.forEach(function (card) {
      card.hidden = !fits(card);
      shown += card.hidden ? 0 : 1;
    });
    field("count").value = shown === cards.length ? shown + " pairs" : shown + " of " + cards.length + " pairs";
    document.getElementById("none").hidden = shown > 0;
  }

  function step(by) {
    const shown = Array.from(place.children).filter(function (card) { return !card.hidden; });
    const at = shown.indexOf(document.activeElement && document.activeElement.closest("article"));
    const next = shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : at + by];
    if (next) {
      next.querySelector("h3 a").focus({ preventScroll: true });
      next.scrollIntoView({ block: "start" });
    }
  }

  function again() {
    form.reset();
    sort();
    filter();
  }

  // a link to a pair that a filter hides shows it again
  function follow() {
    const card = document.getElementById(location.hash.slice(1));
    if (card && card.hidden) {
      again();
      card.scrollIntoView({ block: "start" });
    }
  }

  form.hidden = false;
  window.addEventListener("hashchange", follow);
  form.addEventListener("change", function (event) {
    if (event.target.name === "by" || event.target.name === "direction") { sort(); } else { filter(); }
  });
  field("text").addEventListener("input", filter);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { window.setTimeout(function () { sort(); filter(); }); });
  document.getElementById("again").addEventListener("click", again);
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) { return; }
    const typing = event.target.matches("select, input:not([type=checkbox])");
    if (event.key === "Escape" && typing) { event.target.blur(); return; }
    if (typing) { return; }
    if (event.key === "/") { event.preventDefault(); field("text").focus(); }
    if (event.key === "j") { step(1); }
    if (event.key === "k") { step(-1); }
  });
  sort();
  filter();
}());
