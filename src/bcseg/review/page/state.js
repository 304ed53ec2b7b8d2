// What the page knows, and the two ways in which it touches the document.
// Whatever comes from a table or from a reviewer reaches the page as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function put(parent, tag, text = "", kind = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}

// pairs: all, as the server lists them; order: numbers of those the filter lets through.
// entries: by number, with holes. current, lesion: numbers, -1 for none; image: on the screen.
// again: this is a second look; home: where `c` came from; busy: a decision is on its way.
export const page = {
  pairs: [], order: [], byId: new Map(), groups: new Map(), actions: new Map(), history: new Map(),
  entries: [], last: 0, current: -1, lesion: -1, image: null, again: false, home: -1, filter: "",
  busy: false, ready: false, failed: false, shownAt: 0, looked: 0, own: [], trouble: "", lost: "",
};

// x, y: the image point in the middle; scale: screen pixels per image pixel; low, high: the grey
// values that are black and white.
export const view = {
  mode: "lesion", scale: 1, x: 0, y: 0, low: 0, high: 1, window: "breast", invert: false,
  overlay: true, fill: false,
};

export const keyOf = (dataset, id, lesion) => JSON.stringify([dataset, id, lesion || ""]);
export const placeOf = (number) => Math.max(0, page.order.indexOf(number));
export const chosenLesion = (pair) =>
  page.lesion >= 0 && !page.again && pair.lesions.length > 1 ? pair.lesions[page.lesion].lesion_id : "";

export function say(text) {
  $("saved").textContent = text;
}

export function showTrouble() {
  const text = page.lost || page.trouble;
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

export function cover(text) {
  $("veil").hidden = !text;
  $("veil").textContent = text;
}
