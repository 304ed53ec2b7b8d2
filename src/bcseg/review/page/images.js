// Pairs as they are drawn, fetched before they are needed and kept for a while.

import { upcoming } from "./decisions.js";
import { page, placeOf } from "./state.js";

const AHEAD = 4; // pairs fetched before they are needed
const KEPT_BYTES = 400e6;

const worker = new Worker(new URL("loader.js", import.meta.url), { type: "module" });
const waiting = new Map(); // id of a question to the worker -> what to do with the answer
const cache = new Map(); // number of a pair -> { promise, image }, the latest last
let questions = 0;

worker.onmessage = ({ data: { id, made, refused } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (made) resolve(made);
  else reject(new Error(refused));
};

function fetched(name) {
  questions += 1;
  const id = questions;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, name });
  });
}

export function load(number) {
  const kept = cache.get(number);
  if (kept) {
    cache.delete(number);
    cache.set(number, kept);
    return kept.promise;
  }
  const pair = page.pairs[number];
  const name = `${encodeURIComponent(pair.dataset)}/${encodeURIComponent(pair.record_id)}`;
  const slot = { image: null };
  slot.promise = fetched(name).then((made) => {
    slot.image = imageOf(made);
    forget();
    return slot.image;
  });
  slot.promise.catch(() => cache.delete(number)); // asked again when it is wanted again
  cache.set(number, slot);
  return slot.promise;
}

function forget() {
  let bytes = 0;
  for (const [number, { image }] of [...cache].reverse()) {
    if (!image) continue;
    bytes += image.bytes;
    if (bytes > KEPT_BYTES && image !== page.image) cache.delete(number);
  }
}

function imageOf({ levels, bits, low, high, contours }) {
  const [{ rows, columns }] = levels;
  const shapes = contours.map((one) => ({
    lesion: one.lesion_id, box: one.box, path: outline(one.edges), area: filled(one.runs),
  }));
  const bytes = levels.reduce((sum, level) => sum + level.pixels.byteLength, 0);
  return { levels, shapes, rows, columns, low, high, bits, bytes };
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

export async function prefetch() {
  const from = page.current;
  document.body.dataset.ahead = "";
  for (const number of upcoming(placeOf(from), AHEAD)) {
    if (page.current !== from) return;
    await load(number).then(() => { document.body.dataset.ahead ||= page.pairs[number].record_id; }, () => null);
  }
}
