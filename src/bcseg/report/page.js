(function () {
  "use strict";
  const form = document.getElementById("controls");
  const place = document.getElementById("cards");
  const cards = Array.from(place.children);
  const facts = new Map(cards.map(function (card) {
    return [card, { values: JSON.parse(card.dataset.values), place: Number(card.dataset.place) }];
  }));
  const field = function (name) { return form.elements[name]; };
  const words = function (text) { return text.split(" "); };

  function value(card, name, falling) {
    const found = facts.get(card).values[name];
    if (!found || !found.length) { return null; }
    return falling ? Math.max.apply(null, found) : Math.min.apply(null, found);
  }

  function sort() {
    const name = field("by").value;
    const falling = field("direction").value === "falling";
    const keyed = cards.map(function (card) { return [card, value(card, name, falling)]; });
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
      && (!field("mark").value || words(data.marks).includes(field("mark").value))
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

  form.hidden = false;
  form.addEventListener("change", function (event) {
    if (event.target.name === "by" || event.target.name === "direction") { sort(); } else { filter(); }
  });
  field("text").addEventListener("input", filter);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { window.setTimeout(function () { sort(); filter(); }); });
  document.getElementById("again").addEventListener("click", again);
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) { return; }
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape" && typing) { event.target.blur(); return; }
    if (typing) { return; }
    if (event.key === "/") { event.preventDefault(); field("text").focus(); }
    if (event.key === "j") { step(1); }
    if (event.key === "k") { step(-1); }
  });
  filter();
}());
