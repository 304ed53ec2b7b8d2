// Keys, the line that asks for a text, and the help that lists them.

import { filter, filterHint, jump } from "./find.js";
import { arrow, keyName } from "./panel.js";
import { breastWindow, frame, paint, screenWindow } from "./render.js";
import { decide, otherView, step, undo, walkLesions } from "./review.js";
import { $, page, put, view } from "./state.js";
import { zoomBy } from "./mouse.js";

const MODES = ["lesion", "whole", "100 %"];
const HELP = {
  accept: "accept", reject: "reject without a reason", reject_typed: "reject, reason typed",
  unsure: "unsure: comes back at the end", flag: "flag with a note: undecided, comes back",
  undo: "undo", overlay: "contour on or off", fill: "outline or filled",
  zoom: "lesion, whole image, 100 %", closer: "closer", farther: "farther",
  other_view: "the other view or annotator", invert: "invert",
  window: "window of this part, of the breast", lights: "bright or dark page",
  next: "next, without deciding", previous: "previous, without deciding",
  lesion: "next lesion: decide about it alone", jump: "jump to a number or id", filter: "filter",
  help: "this help",
};
const MOUSE = "Mouse: drag moves the image; drag with the right button (or Shift) sets the window: to the side its width, up and down its level; the wheel zooms; a double click is the zoom key. A decision is always about the pair on the screen, or about its one lesion where you chose one with Tab. It is on the disk before the next pair comes.";
const NO_REPEAT = new Set(["accept", "reject", "unsure", "undo", "flag", "reject_typed"]);

const canSay = () => (page.ready || page.failed) && !page.busy;

const DO = {
  accept: () => decide("accept"),
  reject: () => decide("reject"),
  reject_typed: () => canSay() && prompt("Reject, because …", "Enter: reject · Esc: back", "", (text) => decide("reject", text)),
  unsure: () => decide("unsure"),
  flag: () => canSay() && prompt("Flag with a note", "The pair stays undecided and comes back at the end. Enter: save · Esc: back", "", (text) => decide("flag", "", text)),
  undo,
  overlay: () => { view.overlay = !view.overlay; paint(); },
  fill: () => { view.fill = !view.fill; view.overlay = true; paint(); },
  zoom: () => {
    view.mode = MODES[(MODES.indexOf(view.mode) + 1) % MODES.length];
    frame();
    paint();
  },
  closer: () => zoomBy(1.25),
  farther: () => zoomBy(0.8),
  other_view: otherView,
  invert: () => { view.invert = !view.invert; paint(); },
  window: () => {
    if (!page.image) return;
    if (view.window === "breast") screenWindow();
    else breastWindow();
    paint();
  },
  lights: () => document.documentElement.toggleAttribute("data-bright"),
  next: () => step(1),
  previous: () => step(-1),
  lesion: (event) => walkLesions(event && event.shiftKey ? -1 : 1),
  jump: () => prompt("Jump to", "a number of this list, or (part of) an id", "", jump),
  filter: () => prompt("Filter", filterHint(), page.filter, filter),
  help: () => $("help").showModal(),
};

export function run(action, event) {
  if (action.startsWith("reason_")) decide("reject", page.reasons[Number(action.slice(7)) - 1]);
  else DO[action](event);
}

// ---------------------------------------------------------------------------------- a text

let answerTo = null;
let held = false; // the key that opened the line is still down

function prompt(label, hint, start, then) {
  $("prompt-label").textContent = label;
  $("prompt-hint").textContent = hint;
  $("prompt-text").value = start;
  $("prompt").hidden = false;
  $("prompt-text").focus();
  $("prompt-text").select();
  answerTo = then;
  held = true;
}

function endPrompt() {
  answerTo = null;
  $("prompt").hidden = true;
  $("prompt-text").blur();
}

function answer(event) {
  event.preventDefault();
  const then = answerTo, text = $("prompt-text").value;
  endPrompt();
  if (then) then(text);
}

// ---------------------------------------------------------------------------------- keys

// The action of a key: by what it types; where that is no key of ours and no Latin letter or
// digit either (other scripts, French digits), by where it lies on the keyboard.
function actionOf(event) {
  const typed = event.key === " " ? "space" : event.key;
  const key = event.getModifierState("CapsLock") && typed.length === 1 ? typed.toLowerCase() : typed;
  if (page.actions.has(key)) return page.actions.get(key);
  const [, letter, digit] = /^(?:Key([A-Z])|Digit([0-9]))$/.exec(event.code) || [];
  if (letter && key.length === 1 && key > "\x7f") return page.actions.get(letter.toLowerCase());
  if (digit && key.length === 1 && !event.shiftKey && !/[0-9]/.test(key)) return page.actions.get(digit);
  return undefined;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if ($("help").open) {
    if (event.key === "?" || event.key === "Escape") { $("help").close(); event.preventDefault(); }
    return;
  }
  if (answerTo) {
    if (event.key === "Escape") endPrompt();
    if (event.key === "Escape" || (held && event.repeat)) event.preventDefault();
    return;
  }
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  if (event.repeat && (NO_REPEAT.has(action) || action.startsWith("reason_"))) return; // one key, one decision
  run(action, event);
}

export function listenToKeys() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("keyup", () => { held = false; });
  $("prompt").addEventListener("submit", answer);
}

// ---------------------------------------------------------------------------------- controls

function button(parent, action, text, kind) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = kind;
  put(node, "kbd", keyName(action));
  node.append(text);
  node.addEventListener("click", () => { node.blur(); run(action); });
  parent.append(node);
}

export function buildControls() {
  $("question").textContent = page.question;
  for (const text of page.warnings) put($("warnings"), "li", text);
  for (const action of ["accept", "reject", "unsure", "flag"]) button($("verdicts"), action, action, action);
  page.reasons.forEach((reason, n) => button(put($("reasons"), "li"), `reason_${n + 1}`, reason, ""));
  button(put($("reasons"), "li"), "reject_typed", "type it …", "");
  const hints = [["undo", "undo"], ["overlay", "contour"], ["fill", "fill"], ["zoom", "zoom"], ["lesion", "lesion"], ["other_view", "other view"], ["window", "window"], ["invert", "invert"], ["filter", "filter"], ["jump", "jump"], ["help", "all keys"]];
  for (const [action, text] of hints) {
    const hint = put($("hint"), "span");
    put(hint, "kbd", keyName(action));
    hint.append(text);
  }
  $("help-button").addEventListener("click", () => { $("help-button").blur(); run("help"); });
  buildHelp();
}

function buildHelp() {
  const help = $("help");
  put(help, "h2", "Keys");
  const list = put(help, "dl");
  const line = (action, text) => {
    const keys = put(list, "dt");
    for (const key of page.keys[action] || []) put(keys, "kbd", arrow(key));
    put(list, "dd", text);
  };
  for (const [action, text] of Object.entries(HELP)) line(action, text);
  page.reasons.forEach((reason, n) => line(`reason_${n + 1}`, `reject: ${reason}`));
  put(help, "p", MOUSE);
  const close = put(help, "button", "close (Esc)");
  close.type = "button";
  close.addEventListener("click", () => help.close());
}
