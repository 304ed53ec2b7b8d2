// The walk from pair to pair: show one, take a decision, wait for the disk, show the next.

import { counts, isOpen, isSecondLook, lesionVerdict, upcoming, verdictOf } from "./decisions.js";
import { load, prefetch } from "./images.js";
import { companions, keyName, showLesions, showProgress, showSidebar, showVerdict, tally, tallyText } from "./panel.js";
import { breastWindow, frame, paint } from "./render.js";
import { send } from "./server.js";
import { $, chosenLesion, cover, keyOf, page, placeOf, say, showTrouble, view } from "./state.js";

const SLOW = 120; // milliseconds after which a pair that is not there yet is said to be loading

// ---------------------------------------------------------------------------------- deciding

export async function decide(decision, reason = "", note = "") {
  if (page.busy || page.current < 0) return;
  if (!page.ready && !(page.failed && ["reject", "flag"].includes(decision))) return;
  const pair = page.pairs[page.current], lesion = chosenLesion(pair);
  const started = performance.now();
  const done = await save("api/decide", {
    dataset: pair.dataset, record_id: pair.record_id, lesion_id: lesion, decision, reason, note,
    annotation_sha256: pair.annotation_sha256, repeat: page.again,
  }, (page.looked + started - page.shownAt) / 1000);
  if (!done) return;
  page.own.push(done.number);
  if (lesion && pair.lesions.some((one) => !lesionVerdict(pair, one.lesion_id))) {
    page.lesion = nextLesion(pair);
    startClock();
    redraw();
    showProgress();
  } else {
    await advance();
  }
  document.body.dataset.took = String(Math.round(performance.now() - started));
}

let unsent = { what: "", mark: "" };

// Send a decision and wait until it is on the disk; where that fails, nothing moves on. The same
// decision sent again bears the same mark: if the first did arrive, it is not entered twice.
async function save(path, message, seconds = 0) {
  const what = JSON.stringify([path, message]);
  if (unsent.what !== what) unsent = { what, mark: newMark() };
  page.busy = true;
  say("saving …");
  try {
    const done = await send(path, { ...message, seconds, mark: unsent.mark });
    unsent = { what: "", mark: "" };
    say(`on disk: ${page.last}`);
    return done;
  } catch (error) {
    say("not saved");
    page.lost = error.status
      ? `Not saved: ${error.message}`
      : "Not saved: the server does not answer. Start `bcseg review` again and open the address it prints, or press the key again when the connection is back.";
    showTrouble();
    return null;
  } finally {
    page.busy = false;
  }
}

const newMark = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

function nextLesion(pair) {
  for (let step = 1; step <= pair.lesions.length; step += 1) {
    const at = (page.lesion + step) % pair.lesions.length;
    if (!lesionVerdict(pair, pair.lesions[at].lesion_id)) return at;
  }
  return page.lesion;
}

export async function undo() {
  if (page.busy) return;
  while (page.own.length && !counts(page.entries[page.own.at(-1)])) page.own.pop();
  const number = page.own.at(-1) ?? page.entries.findLastIndex(counts);
  if (number < 0) return say("nothing to undo");
  const entry = page.entries[number];
  if (!(await save("api/undo", { number }))) return;
  page.own.pop();
  const at = page.byId.get(keyOf(entry.dataset, entry.record_id));
  if (at === undefined) return showProgress();
  page.home = -1;
  await show(at, { again: Boolean(entry.repeat) });
  page.lesion = page.pairs[at].lesions.findIndex((one) => one.lesion_id === entry.lesion_id);
  if (page.pairs[at].lesions.length < 2) page.lesion = -1;
  redraw();
}

// ---------------------------------------------------------------------------------- showing

function startClock() {
  page.looked = 0;
  page.shownAt = performance.now();
}

// Time in which nobody sees the page is not time spent on the pair.
export function watchClock() {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) page.looked += performance.now() - page.shownAt;
    page.shownAt = performance.now();
  });
}

function redraw() {
  frame();
  paint();
  showSidebar();
}

export async function show(number, { again = false } = {}) {
  Object.assign(page, { current: number, lesion: -1, again, ready: false, failed: false });
  const pair = page.pairs[number];
  history.replaceState(null, "", `#${encodeURIComponent(pair.dataset)}/${encodeURIComponent(pair.record_id)}`);
  const veil = setTimeout(cover, SLOW, "loading …");
  try {
    const loaded = await load(number);
    if (page.current !== number) return;
    page.image = loaded;
    breastWindow();
    frame();
    paint();
    cover("");
    page.ready = true;
  } catch (error) {
    if (page.current !== number) return;
    page.image = null;
    page.failed = true;
    cover(`${pair.record_id} cannot be shown\n${error.message}\n\n${keyName("reject")}: reject it · ${keyName("flag")}: flag it · arrow keys: go on without it`);
  } finally {
    clearTimeout(veil);
  }
  startClock();
  showSidebar();
  showProgress();
  document.body.dataset.shown = pair.record_id;
  setTimeout(prefetch, 0);
}

async function advance() {
  const { home } = page;
  page.home = -1;
  if (home >= 0 && !verdictOf(page.pairs[home])) return show(home);
  const [next] = upcoming(placeOf(home >= 0 ? home : page.current), 1);
  if (next === undefined) return finished();
  return show(next, { again: isSecondLook(next) });
}

export function finished() {
  Object.assign(page, { ready: false, failed: false });
  showProgress();
  const found = tally();
  const open = found.total - found.decided;
  const words = page.filter
    ? `Every pair of this filter is decided${open ? " or was seen twice" : ""}.\nPress ${keyName("filter")} and Enter to lift the filter.`
    : `${open ? "Every pair was judged" : "Every pair is decided"}: done.\n${tallyText(found)}\n\nbcseg select --manifest …/${page.table}`;
  cover(`${words}\n\nArrow keys: look again. ${keyName("undo")}: undo.`);
}

// Decisions of another window came in.
export function changedElsewhere() {
  showProgress();
  if (page.busy || page.current < 0) return;
  showVerdict();
  showLesions();
}

// ---------------------------------------------------------------------------------- moving

export function look(number) {
  if (page.busy) return;
  page.home = -1;
  show(number);
}

export function step(by) {
  const at = page.order.indexOf(page.home >= 0 ? page.home : page.current);
  const length = page.order.length;
  if (length) look(page.order[at < 0 ? 0 : (at + by + length) % length]);
}

export function otherView() {
  if (page.busy) return;
  const home = page.home >= 0 ? page.home : page.current;
  const ring = [home, ...companions(home)];
  if (ring.length < 2) return say("no other image of this patient here");
  const next = ring[(ring.indexOf(page.current) + 1) % ring.length];
  page.home = next === home ? -1 : home;
  show(next);
}

export function walkLesions(by) {
  if (!page.ready) return;
  const { lesions } = page.pairs[page.current];
  if (lesions.length < 2) return say("one lesion only");
  const ring = lesions.length + 1;
  page.lesion = ((page.lesion + 1 + by + ring) % ring) - 1;
  view.mode = "lesion";
  frame();
  paint();
  showLesions();
  showVerdict();
}

export const firstToJudge = (asked) =>
  asked !== undefined && isOpen(verdictOf(page.pairs[asked])) ? asked : upcoming(page.order.length - 1, 1)[0];
