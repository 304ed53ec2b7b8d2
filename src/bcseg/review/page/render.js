// Draws: pixels of up to 16 bits through a window, the contour over them, the small map, the ruler.

import { $, page, view } from "./state.js";

const OUTSIDE = 0xff1f1a17; // beyond the border of the image
const CONTOUR = "#ffd60a", OTHER_CONTOUR = "#6ec8ff";
const RULERS = [0.5, 1, 2, 5, 10, 20, 50, 100]; // millimetres
const SAMPLE = 100000; // pixels that percentiles are taken of

const ratio = () => window.devicePixelRatio || 1;

// ---------------------------------------------------------------------------------- where

export function fit() {
  for (const name of ["plain", "judged", "overlay"]) {
    const canvas = $(name), { clientWidth, clientHeight } = canvas.parentElement;
    canvas.width = Math.max(1, Math.round(clientWidth * ratio()));
    canvas.height = Math.max(1, Math.round(clientHeight * ratio()));
  }
}

// Set scale and centre for the chosen mode: the lesion with room around it, all, or 1:1 pixels.
export function frame() {
  const { image } = page;
  if (!image) return;
  const { width, height } = $("judged");
  const box = focusBox(image);
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

function focusBox(image) {
  const chosen = page.lesion >= 0 && image.shapes.length > 1 ? [image.shapes[page.lesion]] : image.shapes;
  const boxes = chosen.map((shape) => shape.box).filter((box) => box.length);
  if (!boxes.length) return [0, 0, image.columns, image.rows];
  return [0, 1, 2, 3].map((n) => (n < 2 ? Math.min : Math.max)(...boxes.map((box) => box[n])));
}

export function keepInside() {
  view.x = Math.min(page.image.columns, Math.max(0, view.x));
  view.y = Math.min(page.image.rows, Math.max(0, view.y));
}

export function breastWindow() {
  [view.low, view.high, view.window] = [page.image.low, page.image.high, "breast"];
}

// The 1st and 99th percentile of what is on the screen: a lesion that the first window burns out.
export function screenWindow() {
  const { pixels, rows, columns } = page.image.levels[0];
  const { width, height } = $("plain");
  const side = (middle, length, end) => [
    Math.max(0, Math.floor(middle - length / view.scale / 2)),
    Math.min(end, Math.ceil(middle + length / view.scale / 2)),
  ];
  const [left, right] = side(view.x, width, columns), [top, bottom] = side(view.y, height, rows);
  const step = Math.max(1, Math.floor(Math.sqrt(((right - left) * (bottom - top)) / SAMPLE)));
  const seen = [];
  for (let row = top; row < bottom; row += step) {
    for (let column = left; column < right; column += step) seen.push(pixels[row * columns + column]);
  }
  if (!seen.length) return;
  seen.sort((a, b) => a - b);
  const at = (share) => seen[Math.round(share * (seen.length - 1))];
  [view.low, view.high, view.window] = [at(0.01), Math.max(at(0.99), at(0.01) + 1), "screen"];
}

// ---------------------------------------------------------------------------------- pixels

const table = new Uint32Array(65536);
let tableFor = "";

function greys(bits) {
  const wanted = `${view.low} ${view.high} ${view.invert} ${bits}`;
  if (wanted === tableFor) return table;
  tableFor = wanted;
  const top = bits === 16 ? 65536 : 256, span = Math.max(1, view.high - view.low);
  for (let value = 0; value < top; value += 1) {
    let grey = Math.round(Math.min(1, Math.max(0, (value - view.low) / span)) * 255);
    if (view.invert) grey = 255 - grey;
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

// Draw an image, the point (x, y) in the middle. Magnified, a pixel is a square of its own value;
// reduced, the next smaller copy is interpolated. The window comes last: 16 bits until then.
function draw(image, into, scale, x, y) {
  const { width, height } = into;
  const depth = Math.min(image.levels.length - 1, Math.max(0, Math.round(Math.log2(1 / scale))));
  const { pixels, rows, columns } = image.levels[depth];
  const factor = 2 ** depth, step = 1 / (scale * factor), grey = greys(image.bits);
  const out = new Uint32Array(into.data.buffer);
  out.fill(OUTSIDE);
  const left = x / factor - (width / 2) * step, top = y / factor - (height / 2) * step;
  const from = Math.max(0, Math.ceil(-left / step - 0.5)), to = Math.min(width, Math.ceil((columns - left) / step - 0.5));
  const smooth = scale < 1 && scale * factor !== 1 && Math.min(rows, columns) > 1;
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
      smoothLine(out, line * width, row * columns, columns, down, from, to, pixels, at, part, grey);
    } else {
      const start = Math.floor(place) * columns;
      for (let n = from, o = line * width + from; n < to; n += 1, o += 1) out[o] = grey[pixels[start + at[n]]];
    }
  }
  return into;
}

function smoothLine(out, offset, start, columns, down, from, to, pixels, at, part, grey) {
  const up = 256 - down;
  for (let n = from, o = offset + from; n < to; n += 1, o += 1) {
    const a = start + at[n], b = a + columns, f = part[n], g = 256 - f;
    const value = (pixels[a] * g + pixels[a + 1] * f) * up + (pixels[b] * g + pixels[b + 1] * f) * down;
    out[o] = grey[value / 65536 | 0];
  }
}

// ---------------------------------------------------------------------------------- painting

let asked = 0;
export function paintSoon() {
  if (!asked) asked = requestAnimationFrame(() => { asked = 0; paint(); });
}

let buffer = null;
export function paint() {
  const { image } = page;
  if (!image) return;
  const { width, height } = $("judged");
  if (!buffer || buffer.width !== width || buffer.height !== height) buffer = new ImageData(width, height);
  draw(image, buffer, view.scale, view.x, view.y);
  $("plain").getContext("2d").putImageData(buffer, 0, 0);
  $("judged").getContext("2d").putImageData(buffer, 0, 0);
  paintOverlay(image, width, height);
  paintMap(image, width, height);
  showRuler();
  showCaption(image);
}

function paintOverlay(image, width, height) {
  const pen = $("overlay").getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!view.overlay) return;
  const thin = Math.max(1, Math.min(width, height) / (1000 * ratio())) * ratio();
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
    pen.strokeStyle = here ? CONTOUR : OTHER_CONTOUR;
    pen.stroke(shape.path);
  });
}

// The whole image, small, with a frame around what is seen.
function paintMap(image, width, height) {
  const map = $("map");
  const whole = Math.min(width / image.columns, height / image.rows);
  map.hidden = view.scale <= whole * 1.05;
  if (map.hidden) return;
  const scale = Math.min((height * 0.22) / image.rows, (width * 0.3) / image.columns);
  const wide = Math.max(1, Math.round(image.columns * scale)), tall = Math.max(1, Math.round(image.rows * scale));
  if (map.width !== wide) map.width = wide;
  if (map.height !== tall) map.height = tall;
  map.style.width = `${wide / ratio()}px`;
  map.style.height = `${tall / ratio()}px`;
  const pen = map.getContext("2d");
  pen.putImageData(draw(image, new ImageData(wide, tall), scale, image.columns / 2, image.rows / 2), 0, 0);
  pen.strokeStyle = CONTOUR;
  pen.lineWidth = ratio();
  const w = width / view.scale, h = height / view.scale;
  pen.strokeRect((view.x - w / 2) * scale, (view.y - h / 2) * scale, w * scale, h * scale);
}

// A length in millimetres, where the pixel size is known and the same both ways.
function showRuler() {
  const ruler = $("ruler"), spacing = Number(page.pairs[page.current].pixel_spacing_mm);
  const perMm = view.scale / ratio() / spacing;
  const length = spacing > 0 && RULERS.find((mm) => mm * perMm >= 60);
  ruler.hidden = !length;
  if (ruler.hidden) return;
  ruler.style.width = `${length * perMm}px`;
  ruler.textContent = `${length} mm`;
}

const WINDOWS = { breast: "breast", screen: "this part", dragged: "yours" };

function showCaption(image) {
  const percent = Math.round(view.scale * 100);
  const zoom = `${percent} %${view.mode === "100 %" && percent === 100 ? "" : ` (${view.mode})`}`;
  const words = [
    image.shapes.some((shape) => shape.box.length) ? "" : "no contour",
    view.overlay ? "" : "contour off", zoom,
    `window ${Math.round(view.low)} to ${Math.round(view.high)} (${WINDOWS[view.window]})`,
    view.invert ? "inverted" : "",
  ];
  $("caption").textContent = words.filter(Boolean).join(" · ");
}
