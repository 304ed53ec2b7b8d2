// Drag, window by drag, wheel.

import { keepInside, paintSoon } from "./render.js";
import { page, view } from "./state.js";
import { run } from "./keys.js";

const LARGEST = 64, SMALLEST = 0.02; // screen pixels per image pixel

// Zoom about a point of the pane, in screen pixels from its middle.
export function zoomBy(factor, x = 0, y = 0) {
  if (!page.image) return;
  const scale = Math.min(LARGEST, Math.max(SMALLEST, view.scale * factor));
  view.x += x / view.scale - x / scale;
  view.y += y / view.scale - y / scale;
  view.scale = scale;
  keepInside();
  paintSoon();
}

function setWindow(dx, dy) {
  const span = Math.max(8, view.high - view.low), middle = (view.low + view.high) / 2;
  const wider = Math.max(2, span * Math.exp(dx / 300)), moved = middle + (dy / 400) * span;
  [view.low, view.high, view.window] = [moved - wider / 2, moved + wider / 2, "dragged"];
}

let from = null;

function onDrag(event) {
  if (!page.image || !event.buttons || !from) return;
  const ratio = window.devicePixelRatio || 1;
  const dx = (event.clientX - from.x) * ratio, dy = (event.clientY - from.y) * ratio;
  from = { x: event.clientX, y: event.clientY };
  if (event.buttons & 2 || event.shiftKey) {
    setWindow(dx / ratio, dy / ratio);
  } else {
    view.x -= dx / view.scale;
    view.y -= dy / view.scale;
    keepInside();
  }
  paintSoon();
}

function onWheel(event) {
  event.preventDefault();
  const ratio = window.devicePixelRatio || 1, box = event.currentTarget.getBoundingClientRect();
  const x = (event.clientX - box.left - box.width / 2) * ratio;
  const y = (event.clientY - box.top - box.height / 2) * ratio;
  const pixels = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY; // lines, in some browsers
  zoomBy(Math.exp(-pixels / 500), x, y);
}

export function listenToMouse() {
  for (const pane of document.querySelectorAll(".pane")) {
    pane.addEventListener("pointerdown", (event) => {
      pane.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY };
    });
    pane.addEventListener("pointerup", () => { from = null; });
    pane.addEventListener("pointermove", onDrag);
    pane.addEventListener("contextmenu", (event) => event.preventDefault());
    pane.addEventListener("wheel", onWheel, { passive: false });
    pane.addEventListener("dblclick", () => run("zoom"));
  }
}
