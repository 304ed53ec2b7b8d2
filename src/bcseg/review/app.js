"use strict";
// One page: shows a pair, takes a key, waits until the decision is on the disk, shows the next.
// Whatever comes from a table or from a reviewer reaches the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const REPEAT_AFTER = 20; // decisions between the first and the second look
const AHEAD = 3; // pairs fetched before they are needed
const KEPT_BYTES = 400e6;
const OUTSIDE = 0xff1f1a17; // beyond the border of the image
const ARROWS = { ArrowRight: "→", ArrowDown: "↓", ArrowLeft: "←", ArrowUp: "↑" };
const HELP = {
  accept: "accept", reject: "reject without a reason", reject_typed: "reject, reason typed",
  unsure: "unsure: comes back at the end", flag: "flag with a note, undecided", undo: "undo",
  overlay: "contour on or off", fill: "outline or filled", zoom: "lesion, whole image, 100 %",
  closer: "closer", farther: "farther", other_view: "the other view or annotator",
  invert: "invert", window: "first window again", next: "next, without deciding",
  previous: "previous, without deciding", lesion: "next lesion: decide about it alone",
  jump: "jump to a number or id", filter: "filter", help: "this help",
};

const page = {
  pairs: [], order: [], byId: new Map(), actions: new Map(), history: new Map(), entries: [],
  last: 0, current: -1, lesion: -1, again: false, home: -1, filter: "", busy: false, ready: false,
  shownAt: 0, looked: 0, own: [], trouble: "", lost: "",
};
const view = {
  mode: "lesion", scale: 1, x: 0, y: 0, low: 0, high: 1, invert: false, overlay: true, fill: false,
};
let image = null; // what is on the screen: pixels, sizes, mips, contours
const cache = new Map(); // number of a pair -> promise of an image

// ---------------------------------------------------------------------------------- server

async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.ok) return answer;
  const kind = answer.headers.get("content-type") || "";
  const text = kind.includes("json") ? (await answer.json()).error : await answer.text();
  const refused = new Error(text || `the server answers ${answer.status}`);
  refused.status = answer.status;
  throw refused;
}

async function send(path, values) {
  const body = JSON.stringify({ ...values, after: page.last });
  const headers = { "Content-Type": "application/json" };
  const answer = await ask(path, { method: "POST", headers, body });
  const news = await answer.json();
  take(news);
  return news;
}

function take(news) {
  for (const entry of news.entries) apply(entry);
  page.lost = "";
  page.trouble = news.warning || "";
  if (news.entries.length) showProgress();
  showTrouble();
}

async function poll() {
  try {
    const before = page.last;
    take(await (await ask(`api/changes?after=${page.last}`)).json());
    if (page.last !== before && !page.busy) showVerdict();
  } catch (error) {
    page.lost = error.status
      ? error.message
      : "The server does not answer: nothing is being saved. Start `bcseg review` again; what was saved is safe.";
    showTrouble();
  }
  setTimeout(poll, document.hidden ? 5000 : 1000);
}

function showTrouble() {
  const text = page.lost || page.trouble;
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

// ---------------------------------------------------------------------------------- decisions

const keyOf = (dataset, id, lesion) => JSON.stringify([dataset, id, lesion || ""]);

function apply(entry) {
  if (entry.number <= page.last) return;
  page.last = entry.number;
  page.entries[entry.number] = entry;
  if (entry.undo) {
    const gone = page.entries[entry.undo];
    if (gone) gone.withdrawn = true;
    return;
  }
  const key = keyOf(entry.dataset, entry.record_id, entry.lesion_id);
  if (!page.history.has(key)) page.history.set(key, []);
  page.history.get(key).push(entry);
}

function looks(pair, lesion, repeat) {
  const all = page.history.get(keyOf(pair.dataset, pair.record_id, lesion)) || [];
  return all.filter((entry) => !entry.withdrawn && Boolean(entry.repeat) === repeat);
}

function decisionOf(pair, lesion = "", repeat = false) {
  const entry = looks(pair, lesion, repeat).at(-1);
  if (!entry || !entry.decision) return null;
  return entry.annotation_sha256 === pair.annotation_sha256 ? entry : null; // else another contour
}

// The decision about a pair: its own, or that of its lesions where each has one.
function verdictOf(pair) {
  const own = decisionOf(pair);
  if (own) return own;
  if (pair.lesions.length < 2) return null;
  const each = pair.lesions.map((lesion) => decisionOf(pair, lesion.lesion_id));
  if (each.some((one) => !one)) return null;
  const order = ["reject", "unsure", "flag", "accept"];
  return each.reduce((a, b) => (order.indexOf(b.decision) < order.indexOf(a.decision) ? b : a));
}

function unsureTwice(pair) {
  const last = looks(pair, "", false).slice(-2);
  return last.length === 2 && last.every((entry) => entry.decision === "unsure");
}

const count = () => page.entries.reduce((n, e) => n + Boolean(e && !e.undo && !e.withdrawn && e.decision), 0);

function repeatIsDue(pair, ending, decided) {
  if (!pair.repeat || decisionOf(pair, "", true)) return false;
  const first = decisionOf(pair);
  if (!first || !["accept", "reject"].includes(first.decision)) return false;
  return ending || decided - pair.at >= REPEAT_AFTER;
}

// The next pairs to judge, from a place in the order on: those never judged, the second looks that
// are due, and at the end those unsure, oldest first, and the second looks that are left.
function upcoming(from, wanted) {
  const places = page.order.map((_, n) => page.order[(from + 1 + n) % page.order.length]);
  const decided = count();
  let n = 0;
  for (const entry of page.entries) {
    if (!entry || entry.undo || entry.withdrawn || !entry.decision) continue;
    n += 1;
    const number = page.byId.get(keyOf(entry.dataset, entry.record_id));
    if (number !== undefined && !entry.repeat) page.pairs[number].at = n;
  }
  const fresh = places.filter((number) => !verdictOf(page.pairs[number]));
  const here = page.order[from];
  const again = page.order.filter((number) => repeatIsDue(page.pairs[number], false, decided));
  const list = [...again, ...fresh.filter((number) => number !== here)];
  if (fresh.includes(here)) list.push(here); // looked at, not judged: it comes back
  if (list.length < wanted) {
    const left = page.order.filter((number) => {
      const pair = page.pairs[number];
      const verdict = verdictOf(pair);
      return verdict && verdict.decision === "unsure" && !unsureTwice(pair);
    });
    left.sort((a, b) => page.pairs[a].at - page.pairs[b].at);
    const second = page.order.filter((number) => repeatIsDue(page.pairs[number], true, decided));
    list.push(...left, ...second);
  }
  return [...new Set(list)].slice(0, wanted);
}

const isSecondLook = (number) => repeatIsDue(page.pairs[number], true, count());

async function decide(decision, reason = "", note = "") {
  if (page.busy || !page.ready || page.current < 0) return;
  const pair = page.pairs[page.current];
  const lesion = page.lesion >= 0 && pair.lesions.length > 1 ? pair.lesions[page.lesion].lesion_id : "";
  const seconds = (page.looked + performance.now() - page.shownAt) / 1000;
  const started = performance.now();
  const message = {
    dataset: pair.dataset, record_id: pair.record_id, lesion_id: lesion, decision, reason, note,
    annotation_sha256: pair.annotation_sha256, seconds, repeat: page.again && !lesion, mark: mark(),
  };
  const done = await save("api/decide", message);
  if (!done) return;
  page.own.push(done.number);
  if (lesion && pair.lesions.some((one) => !decisionOf(pair, one.lesion_id))) {
    page.lesion = nextLesion(pair);
    page.looked = 0;
    page.shownAt = performance.now();
    frame();
    paint();
    showSidebar();
  } else {
    await advance();
  }
  document.body.dataset.took = String(Math.round(performance.now() - started));
}

// Send a decision and wait until it is on the disk; where that fails, nothing moves on.
async function save(path, message) {
  page.busy = true;
  $("saved").textContent = "saving …";
  try {
    const done = await send(path, message);
    $("saved").textContent = `saved as ${page.last}`;
    return done;
  } catch (error) {
    $("saved").textContent = "not saved";
    page.lost = error.status
      ? `Not saved: ${error.message}`
      : "Not saved: the server does not answer. Start `bcseg review` again, then press the key again.";
    showTrouble();
    return null;
  } finally {
    page.busy = false;
  }
}

const mark = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

function nextLesion(pair) {
  for (let step = 1; step <= pair.lesions.length; step += 1) {
    const at = (page.lesion + step) % pair.lesions.length;
    if (!decisionOf(pair, pair.lesions[at].lesion_id)) return at;
  }
  return page.lesion;
}

async function advance() {
  if (page.home >= 0) {
    const home = page.home;
    page.home = -1;
    if (!verdictOf(page.pairs[home])) return show(home);
  }
  const [next] = upcoming(placeOf(page.current), 1);
  if (next === undefined) return finished();
  return show(next, { again: isSecondLook(next) });
}

async function undo() {
  if (page.busy) return;
  const valid = (number) => {
    const entry = page.entries[number];
    return entry && !entry.undo && !entry.withdrawn && entry.decision;
  };
  while (page.own.length && !valid(page.own.at(-1))) page.own.pop();
  let number = page.own.at(-1);
  if (number === undefined) number = page.entries.findLastIndex((_, at) => valid(at));
  if (number === undefined || number < 0) return say("nothing to undo");
  const entry = page.entries[number];
  if (!(await save("api/undo", { number, mark: mark() }))) return;
  page.own.pop();
  const at = page.byId.get(keyOf(entry.dataset, entry.record_id));
  if (at === undefined) return;
  await show(at, { again: Boolean(entry.repeat) });
  const pair = page.pairs[at];
  page.lesion = entry.lesion_id ? pair.lesions.findIndex((one) => one.lesion_id === entry.lesion_id) : -1;
  frame();
  paint();
  showSidebar();
}

// ---------------------------------------------------------------------------------- images

function load(number) {
  if (cache.has(number)) {
    const kept = cache.get(number);
    cache.delete(number);
    cache.set(number, kept);
    return kept;
  }
  const pair = page.pairs[number];
  const name = `${encodeURIComponent(pair.dataset)}/${encodeURIComponent(pair.record_id)}`;
  const promise = Promise.all([
    ask(`api/pixels/${name}`).then(async (answer) => [answer.headers, await answer.arrayBuffer()]),
    ask(`api/contours/${name}`).then((answer) => answer.json()),
  ]).then(([[headers, buffer], drawn]) => makeImage(headers, buffer, drawn.contours));
  cache.set(number, promise);
  promise.then(forget, () => cache.delete(number));
  return promise;
}

async function forget() {
  let bytes = 0;
  for (const [number, promise] of [...cache].reverse()) {
    const done = await Promise.race([promise, null]).catch(() => null);
    if (!done) continue;
    bytes += done.bytes;
    if (bytes > KEPT_BYTES && done !== image) cache.delete(number);
  }
}

function makeImage(headers, buffer, contours) {
  const fact = (name) => Number(headers.get(`x-${name}`));
  const pixels = fact("bits") === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer);
  const levels = [{ pixels, rows: fact("rows"), columns: fact("columns") }];
  while (Math.max(levels.at(-1).rows, levels.at(-1).columns) > 300) levels.push(halved(levels.at(-1)));
  const shapes = contours.map((one) => ({
    lesion: one.lesion_id, box: one.box, path: outline(one.edges), area: filled(one.runs),
  }));
  return {
    levels, shapes, rows: levels[0].rows, columns: levels[0].columns, low: fact("low"),
    high: fact("high"), bits: fact("bits"), bytes: buffer.byteLength * 1.4,
  };
}

function halved({ pixels, rows, columns }) {
  const height = rows >> 1, width = columns >> 1;
  const out = new pixels.constructor(height * width);
  for (let row = 0, at = 0; row < height; row += 1) {
    let a = 2 * row * columns, b = a + columns;
    for (let column = 0; column < width; column += 1, a += 2, b += 2) {
      out[at++] = (pixels[a] + pixels[a + 1] + pixels[b] + pixels[b + 1] + 2) >> 2;
    }
  }
  return { pixels: out, rows: height, columns: width };
}

function outline(edges) {
  const path = new Path2D();
  for (let n = 0; n < edges.length; n += 4) {
    path.moveTo(edges[n], edges[n + 1]);
    path.lineTo(edges[n + 2], edges[n + 3]);
  }
  return path;
}

function filled(runs) {
  const path = new Path2D();
  for (let n = 0; n < runs.length; n += 3) path.rect(runs[n + 1], runs[n], runs[n + 2] - runs[n + 1], 1);
  return path;
}

async function prefetch() {
  const from = page.current;
  for (const number of upcoming(placeOf(from), AHEAD)) {
    if (page.current !== from) return;
    await load(number).catch(() => null);
  }
}

// ---------------------------------------------------------------------------------- showing

const placeOf = (number) => Math.max(0, page.order.indexOf(number));
const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

async function show(number, { again = false } = {}) {
  page.current = number;
  page.lesion = -1;
  page.again = again;
  page.ready = false;
  const pair = page.pairs[number];
  history.replaceState(null, "", `#${encodeURIComponent(pair.dataset)}/${encodeURIComponent(pair.record_id)}`);
  const veil = setTimeout(() => cover("loading …"), 120);
  try {
    const loaded = await load(number);
    if (page.current !== number) return;
    image = loaded;
    resetWindow();
    frame();
    paint();
    cover("");
    page.ready = true;
  } catch (error) {
    if (page.current !== number) return;
    image = null;
    cover(`${pair.record_id} cannot be shown\n${error.message}\n\narrow keys: go on without it`);
  } finally {
    clearTimeout(veil);
  }
  page.looked = 0;
  page.shownAt = performance.now();
  showSidebar();
  showProgress();
  pause().then(prefetch);
}

function cover(text) {
  $("veil").hidden = !text;
  $("veil").textContent = text;
}

function resetWindow() {
  view.low = image.low;
  view.high = image.high;
}

function finished() {
  page.ready = false;
  showProgress();
  const words = page.filter
    ? "Every pair of this filter is decided.\nPress / and Enter to lift the filter."
    : `Every pair is decided: done.\n\nbcseg select --manifest …/${page.table}`;
  cover(`${words}\n\nArrow keys: look again.`);
}

// Set scale and centre for the chosen mode: the lesion with room around it, all, or 1:1 pixels.
function frame() {
  if (!image) return;
  const { width, height } = $("judged");
  const box = focusBox();
  const whole = Math.min(width / image.columns, height / image.rows);
  view.x = (box[0] + box[2]) / 2;
  view.y = (box[1] + box[3]) / 2;
  if (view.mode === "whole") {
    [view.x, view.y, view.scale] = [image.columns / 2, image.rows / 2, whole];
  } else if (view.mode === "100 %") {
    view.scale = 1;
  } else {
    const room = 1.75, least = 48;
    const wide = Math.max(least, (box[2] - box[0]) * room), high = Math.max(least, (box[3] - box[1]) * room);
    view.scale = Math.max(whole, Math.min(width / wide, height / high));
  }
}

function focusBox() {
  const chosen = page.lesion >= 0 && image.shapes.length > 1 ? [image.shapes[page.lesion]] : image.shapes;
  const boxes = chosen.map((shape) => shape.box).filter((box) => box.length);
  if (!boxes.length) return [0, 0, image.columns, image.rows];
  return [0, 1, 2, 3].map((n) => (n < 2 ? Math.min : Math.max)(...boxes.map((box) => box[n])));
}

function fit() {
  const ratio = window.devicePixelRatio || 1;
  for (const name of ["plain", "judged", "overlay"]) {
    const canvas = $(name), { clientWidth, clientHeight } = canvas.parentElement;
    canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(clientHeight * ratio));
  }
}

let lutFor = "", lut = new Uint32Array(65536);
function greys() {
  const wanted = `${view.low} ${view.high} ${view.invert} ${image.bits}`;
  if (wanted === lutFor) return lut;
  lutFor = wanted;
  const top = image.bits === 16 ? 65536 : 256, span = Math.max(1, view.high - view.low);
  for (let value = 0; value < top; value += 1) {
    let grey = Math.round(Math.min(1, Math.max(0, (value - view.low) / span)) * 255);
    if (view.invert) grey = 255 - grey;
    lut[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return lut;
}

let buffer = null;
function draw(width, height, scale, x, y) {
  const depth = Math.min(image.levels.length - 1, Math.max(0, Math.round(Math.log2(1 / scale))));
  const { pixels, rows, columns } = image.levels[depth];
  const factor = 2 ** depth, step = 1 / (scale * factor), table = greys();
  if (!buffer || buffer.width !== width || buffer.height !== height) buffer = new ImageData(width, height);
  const out = new Uint32Array(buffer.data.buffer);
  out.fill(OUTSIDE);
  const left = x / factor - (width / 2) * step, top = y / factor - (height / 2) * step;
  const from = Math.max(0, Math.ceil(-left / step - 0.5)), to = Math.min(width, Math.ceil((columns - left) / step - 0.5));
  const smooth = scale < 1 && scale * factor !== 1;
  const at = new Int32Array(width), part = new Int32Array(width);
  for (let n = from; n < to; n += 1) {
    const place = left + (n + 0.5) * step - (smooth ? 0.5 : 0);
    at[n] = Math.min(columns - (smooth ? 2 : 1), Math.max(0, Math.floor(place)));
    part[n] = Math.min(256, Math.max(0, Math.round((place - at[n]) * 256)));
  }
  for (let line = 0; line < height; line += 1) {
    const place = top + (line + 0.5) * step;
    if (place < 0 || place >= rows) continue;
    if (smooth) {
      const row = Math.min(rows - 2, Math.max(0, Math.floor(place - 0.5)));
      const down = Math.min(256, Math.max(0, Math.round((place - 0.5 - row) * 256)));
      smoothLine(out, line * width, row * columns, columns, down, from, to, pixels, at, part, table);
    } else {
      const start = Math.floor(place) * columns;
      for (let n = from, o = line * width + from; n < to; n += 1, o += 1) out[o] = table[pixels[start + at[n]]];
    }
  }
  return buffer;
}

function smoothLine(out, offset, start, columns, down, from, to, pixels, at, part, table) {
  const up = 256 - down;
  for (let n = from, o = offset + from; n < to; n += 1, o += 1) {
    const a = start + at[n], b = a + columns, f = part[n], g = 256 - f;
    const value = (pixels[a] * g + pixels[a + 1] * f) * up + (pixels[b] * g + pixels[b + 1] * f) * down;
    out[o] = table[value / 65536 | 0];
  }
}

let asked = 0;
function paintSoon() {
  if (!asked) asked = requestAnimationFrame(() => { asked = 0; paint(); });
}

function paint() {
  if (!image) return;
  const { width, height } = $("judged");
  const drawn = draw(width, height, view.scale, view.x, view.y);
  $("plain").getContext("2d").putImageData(drawn, 0, 0);
  $("judged").getContext("2d").putImageData(drawn, 0, 0);
  paintOverlay(width, height);
  paintMap();
  const percent = Math.round(view.scale * 100);
  const zoom = `${percent} %${view.mode === "100 %" && percent === 100 ? "" : ` (${view.mode})`}`;
  $("caption").textContent = `${view.overlay ? "image and contour" : "contour off"} · ${zoom} · window ${Math.round(view.low)} to ${Math.round(view.high)}${view.invert ? " · inverted" : ""}`;
}

function paintOverlay(width, height) {
  const pen = $("overlay").getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!view.overlay) return;
  const ratio = window.devicePixelRatio || 1;
  const thin = Math.max(1, Math.min(width, height) / (1000 * ratio)) * ratio;
  pen.setTransform(view.scale, 0, 0, view.scale, width / 2 - view.x * view.scale, height / 2 - view.y * view.scale);
  pen.lineCap = "square";
  image.shapes.forEach((shape, n) => {
    const here = page.lesion < 0 || image.shapes.length < 2 || page.lesion === n;
    if (view.fill) {
      pen.fillStyle = here ? "rgb(255 214 10 / 35%)" : "rgb(110 200 255 / 25%)";
      pen.fill(shape.area);
      return;
    }
    pen.lineWidth = (2.6 * thin) / view.scale;
    pen.strokeStyle = "rgb(0 0 0 / 45%)";
    pen.stroke(shape.path);
    pen.lineWidth = (1.3 * thin) / view.scale;
    pen.strokeStyle = here ? "#ffd60a" : "#6ec8ff";
    pen.stroke(shape.path);
  });
}

// The whole image, small, with a frame around what is seen.
function paintMap() {
  const map = $("map"), { width, height } = $("plain");
  const whole = Math.min(width / image.columns, height / image.rows);
  map.hidden = view.scale <= whole * 1.05;
  if (map.hidden) return;
  const tall = Math.round(height * 0.24), scale = tall / image.rows;
  const ratio = window.devicePixelRatio || 1;
  map.width = Math.max(1, Math.round(image.columns * scale));
  map.height = tall;
  map.style.width = `${map.width / ratio}px`;
  map.style.height = `${map.height / ratio}px`;
  const pen = map.getContext("2d");
  const kept = buffer;
  buffer = null;
  pen.putImageData(draw(map.width, map.height, scale, image.columns / 2, image.rows / 2), 0, 0);
  buffer = kept;
  pen.strokeStyle = "#ffd60a";
  pen.lineWidth = ratio;
  const w = width / view.scale, h = height / view.scale;
  pen.strokeRect((view.x - w / 2) * scale, (view.y - h / 2) * scale, w * scale, h * scale);
}

// ---------------------------------------------------------------------------------- side bar

function put(parent, tag, text = "", kind = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}

function showSidebar() {
  const pair = page.pairs[page.current];
  $("side").textContent = [pair.laterality, pair.view].filter(Boolean).join(" ") || "side unknown";
  const facts = $("facts");
  facts.replaceChildren();
  put(facts, "h3", pair.record_id);
  const place = placeOf(page.current) + 1;
  put(facts, "p", `${pair.dataset} · ${place} of ${page.order.length}${page.home >= 0 ? " · the other view" : ""}`);
  const words = [pair.kinds, pair.birads && `BI-RADS ${pair.birads}`, pair.density && `density ${pair.density}`, pair.pathology, pair.annotator && `annotator ${pair.annotator}`];
  put(facts, "p", words.filter(Boolean).join(" · "));
  const area = pair.mask_area_mm2 ? `${Number(pair.mask_area_mm2).toFixed(0)} mm²` : `${pair.mask_pixels} px`;
  const others = companions(page.current).length;
  put(facts, "p", `${area} · ${pair.height} × ${pair.width}${pair.mirrored ? " · shown unflipped" : ""}`);
  if (others) put(facts, "p", `${others} other image${others > 1 ? "s" : ""} of this patient (${keyName("other_view")})`);
  showLesions(pair);
  showScores(pair);
  showVerdict();
}

function showLesions(pair) {
  const list = $("lesions");
  list.hidden = pair.lesions.length < 2;
  list.replaceChildren();
  pair.lesions.forEach((lesion, n) => {
    const judged = page.again ? null : decisionOf(pair, lesion.lesion_id);
    const words = [`${lesion.lesion_id}`, lesion.kind, lesion.annotator, judged && said(judged)];
    put(list, "li", words.filter(Boolean).join(" · "), n === page.lesion ? "here" : "");
  });
}

function showScores(pair) {
  const box = $("scores");
  box.replaceChildren();
  if (!pair.scores) return;
  if (pair.flags) {
    const flags = put(box, "p", "", "flags");
    for (const flag of pair.flags.split(" ")) put(flags, "span", flag);
  }
  const names = Object.keys(pair.scores);
  const first = ["precision_rank", "shape_rank", "image_rank"].filter((name) => names.includes(name));
  const table = put(box, "table");
  for (const name of [...first, ...names.filter((one) => !first.includes(one))].slice(0, 6)) {
    const row = put(table, "tr");
    put(row, "td", name.replaceAll("_", " "));
    put(row, "td", String(Number(pair.scores[name].toPrecision(3))));
  }
}

function showVerdict() {
  if (page.current < 0) return;
  const pair = page.pairs[page.current];
  const lesion = page.lesion >= 0 && pair.lesions.length > 1 ? pair.lesions[page.lesion].lesion_id : "";
  const judged = page.again ? null : lesion ? decisionOf(pair, lesion) : verdictOf(pair);
  $("verdict").textContent = judged ? said(judged) : lesion ? `lesion ${lesion}` : "";
  $("verdict").className = `corner ${judged ? `word-${judged.decision}` : ""}`;
}

function said(entry) {
  const word = entry.decision;
  const more = entry.reason || entry.note;
  return more ? `${word}: ${more}` : word;
}

function showProgress() {
  let decided = 0, unsure = 0;
  for (const number of page.order) {
    const verdict = verdictOf(page.pairs[number]);
    decided += Boolean(verdict);
    unsure += Boolean(verdict && verdict.decision === "unsure");
  }
  const total = page.order.length;
  const percent = total ? (decided / total) * 100 : 0;
  $("counts").textContent = `${decided} of ${total} decided${unsure ? `, ${unsure} unsure` : ""}`;
  $("done").style.width = `${percent}%`;
  const recent = page.entries.filter((e) => e && !e.undo && !e.withdrawn && e.decision && e.seconds > 0).slice(-30);
  const mean = recent.reduce((sum, entry) => sum + entry.seconds, 0) / recent.length;
  const pace = recent.length > 2 && mean > 0 ? `${Math.round(3600 / mean)} an hour · ${duration((total - decided) * mean)} left` : "";
  $("pace").textContent = pace;
  const strip = $("strip");
  strip.replaceChildren();
  const last = page.entries.filter((e) => e && !e.undo && !e.withdrawn && e.decision).slice(-10).reverse();
  $("strip-title").textContent = last.length ? `last ${last.length}` : "no decision yet";
  for (const entry of last) {
    const number = page.byId.get(keyOf(entry.dataset, entry.record_id));
    const item = put(put(strip, "li"), "button", `${entry.reason || entry.decision} ${tail(entry.record_id)}`, entry.decision);
    item.type = "button";
    item.title = `${entry.dataset} ${entry.record_id} ${entry.lesion_id || ""}`;
    item.addEventListener("click", () => { item.blur(); if (number !== undefined) look(number); });
  }
  $("filtered").hidden = !page.filter;
  $("filtered").textContent = page.filter ? `filter: ${page.filter} (${total})` : "";
}

const tail = (id) => (id.length > 11 ? `…${id.slice(-10)}` : id); // ids differ at their ends

function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return "under a minute";
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function say(text) {
  $("saved").textContent = text;
}

// ---------------------------------------------------------------------------------- moving

function look(number) {
  if (page.busy) return;
  page.home = -1;
  show(number);
}

function step(by) {
  const at = page.order.indexOf(page.current);
  const length = page.order.length;
  if (length) look(page.order[at < 0 ? 0 : (at + by + length) % length]);
}

// Other images of the patient: first the same view (another annotator), then the same side.
function companions(number) {
  const pair = page.pairs[number];
  const far = (other) => 2 * (other.laterality !== pair.laterality) + (other.view !== pair.view);
  return (page.groups.get(pair.group) || [])
    .filter((one) => one !== number)
    .sort((a, b) => far(page.pairs[a]) - far(page.pairs[b]));
}

function otherView() {
  const home = page.home >= 0 ? page.home : page.current;
  const ring = [home, ...companions(home)];
  if (ring.length < 2) return say("no other image of this patient here");
  const next = ring[(ring.indexOf(page.current) + 1) % ring.length];
  page.home = next === home ? -1 : home;
  show(next);
}

function walkLesions(by) {
  const pair = page.pairs[page.current];
  const ring = pair.lesions.length > 1 ? pair.lesions.length + 1 : 1;
  page.lesion = ring > 1 ? ((page.lesion + 1 + by + ring) % ring) - 1 : -1;
  view.mode = "lesion";
  frame();
  paint();
  showLesions(pair);
  showVerdict();
}

function matches(pair, words) {
  const verdict = verdictOf(pair);
  const lesions = pair.lesions.map((one) => `${one.kind} ${one.label}`).join(" ");
  const text = [pair.dataset, pair.record_id, pair.laterality, pair.view, pair.kinds, lesions, pair.birads && `birads${pair.birads}`, pair.pathology, pair.density && `density${pair.density}`, pair.annotator, pair.split, pair.flags, verdict ? said(verdict) : "undecided"].filter(Boolean).join(" ").toLowerCase();
  return words.every((word) => {
    const bound = /^([a-z_0-9]+)(<=|>=|<|>)(-?[\d.]+)$/.exec(word);
    if (bound) {
      const scores = pair.scores || {};
      const value = bound[1] in scores ? scores[bound[1]] : pair[bound[1]] === undefined ? NaN : Number(pair[bound[1]]);
      const limit = Number(bound[3]);
      return { "<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit }[bound[2]];
    }
    return word.startsWith("-") && word.length > 1 ? !text.includes(word.slice(1)) : text.includes(word);
  });
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = page.pairs.map((_, number) => number).filter((number) => matches(page.pairs[number], words));
  if (!chosen.length) return say(`no pair fits "${text}"`);
  page.filter = words.join(" ");
  page.order = chosen;
  const [next] = chosen.includes(page.current) && !words.length ? [page.current] : upcoming(chosen.length - 1, 1);
  page.home = -1;
  return show(next === undefined ? chosen[0] : next);
}

function jump(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return;
  const place = /^\d{1,6}$/.test(wanted) ? page.order[Number(wanted) - 1] : undefined;
  const exact = page.pairs.findIndex((pair) => pair.record_id.toLowerCase() === wanted);
  const near = page.pairs.findIndex((pair) => `${pair.dataset} ${pair.record_id}`.toLowerCase().includes(wanted));
  const found = exact >= 0 ? exact : place !== undefined ? place : near;
  if (found < 0) say(`no pair is called "${text}"`);
  else look(found);
}

// ---------------------------------------------------------------------------------- keys

let answerTo = null;
function prompt(label, hint, start, then) {
  $("prompt-label").textContent = label;
  $("prompt-hint").textContent = hint;
  $("prompt-text").value = start;
  $("prompt").hidden = false;
  $("prompt-text").focus();
  $("prompt-text").select();
  answerTo = then;
}

function endPrompt() {
  answerTo = null;
  $("prompt").hidden = true;
  $("prompt-text").blur();
}

const DO = {
  accept: () => decide("accept"),
  reject: () => decide("reject"),
  reject_typed: () => page.ready && prompt("Reject, because …", "Enter: reject · Esc: back", "", (text) => decide("reject", text)),
  unsure: () => decide("unsure"),
  flag: () => page.ready && prompt("Flag with a note", "The pair stays undecided. Enter: save · Esc: back", "", (text) => decide("flag", "", text)),
  undo,
  overlay: () => { view.overlay = !view.overlay; paint(); },
  fill: () => { view.fill = !view.fill; view.overlay = true; paint(); },
  zoom: () => {
    const modes = ["lesion", "whole", "100 %"];
    view.mode = modes[(modes.indexOf(view.mode) + 1) % modes.length];
    frame();
    paint();
  },
  closer: () => zoomBy(1.25),
  farther: () => zoomBy(0.8),
  other_view: () => page.busy || otherView(),
  invert: () => { view.invert = !view.invert; paint(); },
  window: () => { if (image) resetWindow(); paint(); },
  next: () => step(1),
  previous: () => step(-1),
  lesion: (event) => page.ready && walkLesions(event && event.shiftKey ? -1 : 1),
  jump: () => prompt("Jump to", "a number of this list, or (part of) an id", "", jump),
  filter: () => prompt("Filter", filterHint(), page.filter, filter),
  help: () => $("help").showModal(),
};

function filterHint() {
  const score = page.pairs.some((pair) => pair.scores && "precision_rank" in pair.scores) ? "precision_rank<0.2" : "mask_area_mm2<50";
  return `words that all must fit, -word must not: cbis mass undecided · reject oval · MLO -accept · ${score}\nempty: all pairs`;
}

function keyName(action) {
  const key = (page.keys[action] || [])[0] || "";
  return ARROWS[key] || key;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ($("help").open) {
    if (event.key === "?" || event.key === "Escape") { $("help").close(); event.preventDefault(); }
    return;
  }
  if (answerTo) {
    if (event.key === "Escape") { endPrompt(); event.preventDefault(); }
    return;
  }
  const action = page.actions.get(event.key === " " ? "space" : event.key);
  if (!action) return;
  event.preventDefault();
  const deciding = ["accept", "reject", "unsure", "undo"].includes(action) || action.startsWith("reason_");
  if (event.repeat && deciding) return; // a key held down is one decision
  run(action, event);
}

function run(action, event) {
  if (action.startsWith("reason_")) decide("reject", page.reasons[Number(action.slice(7)) - 1]);
  else DO[action](event);
}

// ---------------------------------------------------------------------------------- mouse

function zoomBy(factor, x = 0, y = 0) {
  if (!image) return;
  const scale = Math.min(64, Math.max(0.02, view.scale * factor));
  view.x += x / view.scale - x / scale;
  view.y += y / view.scale - y / scale;
  view.scale = scale;
  paintSoon();
}

function onDrag(event) {
  if (!image || !event.buttons) return;
  const ratio = window.devicePixelRatio || 1;
  const dx = event.movementX * ratio, dy = event.movementY * ratio;
  if (event.buttons & 2 || event.shiftKey) {
    const span = Math.max(8, view.high - view.low), middle = (view.low + view.high) / 2;
    const wider = Math.max(2, span * Math.exp(dx / 300)), moved = middle + (dy / 400) * span;
    view.low = moved - wider / 2;
    view.high = moved + wider / 2;
  } else {
    view.x -= dx / view.scale;
    view.y -= dy / view.scale;
  }
  paintSoon();
}

function listenToMouse() {
  for (const pane of document.querySelectorAll(".pane")) {
    pane.addEventListener("pointerdown", (event) => pane.setPointerCapture(event.pointerId));
    pane.addEventListener("pointermove", onDrag);
    pane.addEventListener("contextmenu", (event) => event.preventDefault());
    pane.addEventListener("wheel", (event) => {
      event.preventDefault();
      const ratio = window.devicePixelRatio || 1, box = pane.getBoundingClientRect();
      const x = (event.clientX - box.left - box.width / 2) * ratio;
      const y = (event.clientY - box.top - box.height / 2) * ratio;
      zoomBy(Math.exp(-event.deltaY / 500), x, y);
    }, { passive: false });
    pane.addEventListener("dblclick", () => DO.zoom());
  }
}

// ---------------------------------------------------------------------------------- start

function button(parent, action, text, kind) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = kind;
  put(node, "kbd", keyName(action));
  node.append(text);
  node.addEventListener("click", () => { node.blur(); run(action); });
  parent.append(node);
}

function buildControls() {
  $("question").textContent = page.question;
  for (const text of page.warnings) put($("warnings"), "li", text);
  for (const [action, text] of [["accept", "accept"], ["reject", "reject"], ["unsure", "unsure"], ["flag", "flag"]]) {
    button($("verdicts"), action, text, action);
  }
  page.reasons.forEach((reason, n) => button(put($("reasons"), "li"), `reason_${n + 1}`, reason, ""));
  const hints = [["undo", "undo"], ["overlay", "contour"], ["fill", "fill"], ["zoom", "zoom"], ["lesion", "lesion"], ["other_view", "other view"], ["invert", "invert"], ["filter", "filter"], ["jump", "jump"], ["help", "all keys"]];
  for (const [action, text] of hints) {
    const hint = put($("hint"), "span");
    put(hint, "kbd", keyName(action));
    hint.append(text);
  }
  buildHelp();
}

function buildHelp() {
  const help = $("help");
  put(help, "h2", "Keys");
  const list = put(help, "dl");
  for (const [action, text] of Object.entries(HELP)) {
    const keys = put(list, "dt");
    for (const key of page.keys[action] || []) put(keys, "kbd", ARROWS[key] || key);
    put(list, "dd", text);
  }
  page.reasons.forEach((reason, n) => {
    put(put(list, "dt"), "kbd", keyName(`reason_${n + 1}`));
    put(list, "dd", `reject: ${reason}`);
  });
  put(help, "p", "Mouse: drag moves the image; drag with the right button (or Shift) sets the window: to the side its width, up and down its level; the wheel zooms; a double click is the zoom key. A decision is always about the pair on the screen, or about its one lesion where you chose one with Tab. It is on the disk before the next pair comes.");
  const close = put(help, "button", "close (Esc)");
  close.type = "button";
  close.addEventListener("click", () => help.close());
}

function firstPair() {
  const [dataset, record] = location.hash.slice(1).split("/").map((word) => {
    try { return decodeURIComponent(word); } catch { return ""; }
  });
  const asked = page.byId.get(keyOf(dataset, record));
  if (asked !== undefined && !verdictOf(page.pairs[asked])) return asked;
  return upcoming(page.order.length - 1, 1)[0];
}

async function start() {
  const session = await (await ask("api/session")).json();
  Object.assign(page, session, { entries: [], order: session.pairs.map((_, n) => n), groups: new Map() });
  document.title = `${session.root}: bcseg review`;
  page.pairs.forEach((pair, n) => {
    page.byId.set(keyOf(pair.dataset, pair.record_id), n);
    if (!page.groups.has(pair.group)) page.groups.set(pair.group, []);
    page.groups.get(pair.group).push(n);
  });
  for (const [action, keys] of Object.entries(page.keys)) for (const key of keys) page.actions.set(key, action);
  for (const entry of session.entries) apply(entry);
  buildControls();
  document.addEventListener("keydown", onKey);
  $("prompt").addEventListener("submit", (event) => {
    event.preventDefault();
    const then = answerTo, text = $("prompt-text").value;
    endPrompt();
    if (then) then(text);
  });
  $("help-button").addEventListener("click", () => { $("help-button").blur(); DO.help(); });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) page.looked += performance.now() - page.shownAt;
    else page.shownAt = performance.now();
  });
  listenToMouse();
  fit();
  new ResizeObserver(() => { fit(); frame(); paint(); }).observe($("panes"));
  setTimeout(poll, 1000);
  const first = firstPair();
  if (first === undefined) {
    await show(page.order[0]);
    finished();
  } else {
    await show(first, { again: isSecondLook(first) });
  }
  document.body.dataset.started = "yes";
}

start().catch((error) => {
  page.lost = error.message;
  showTrouble();
});
