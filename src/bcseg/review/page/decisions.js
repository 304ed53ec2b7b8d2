// What was decided, what counts of it, and what is to be judged next. Nothing here is shown.

import { keyOf, page } from "./state.js";

const REPEAT_AFTER = 20; // decisions between the first and the second look
const WORST_FIRST = ["reject", "unsure", "flag", "accept"];
const OPEN = ["unsure", "flag"]; // looked at, not decided: they come back at the end

export function apply(entry) {
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

export const counts = (entry) => Boolean(entry && !entry.undo && !entry.withdrawn && entry.decision);
export const counted = () => page.entries.filter(counts);

function looks(pair, lesion, repeat) {
  const all = page.history.get(keyOf(pair.dataset, pair.record_id, lesion)) || [];
  return all.filter((entry) => !entry.withdrawn && Boolean(entry.repeat) === repeat);
}

function lastWord(pair, lesion = "", repeat = false) {
  const entry = looks(pair, lesion, repeat).at(-1);
  if (!entry || !entry.decision) return null;
  return entry.annotation_sha256 === pair.annotation_sha256 ? entry : null; // else another contour
}

// The decision about one lesion: its own, or a later one about the whole pair.
export function lesionVerdict(pair, lesion) {
  const one = lastWord(pair, lesion), whole = lastWord(pair);
  return one && (!whole || one.number > whole.number) ? one : whole;
}

// The decision about a pair: the worst of its own and of those made later about single lesions,
// as `select` reads them; without its own, it needs one for each lesion.
export function verdictOf(pair) {
  const own = lastWord(pair);
  const each = pair.lesions.map((lesion) => lesionVerdict(pair, lesion.lesion_id));
  if (!own && (!each.length || each.some((one) => !one))) return null;
  const all = [own, ...each].filter(Boolean);
  return all.reduce((a, b) =>
    WORST_FIRST.indexOf(b.decision) < WORST_FIRST.indexOf(a.decision) ? b : a);
}

export const isOpen = (verdict) => !verdict || OPEN.includes(verdict.decision);

function isOpenTwice(pair) {
  const last = looks(pair, "", false).slice(-2);
  return last.length === 2 && last.every((entry) => OPEN.includes(entry.decision));
}

function repeatIsDue(pair, ending, decided) {
  if (!pair.repeat || lastWord(pair, "", true)) return false;
  const first = lastWord(pair);
  if (!first || isOpen(first)) return false;
  return ending || decided - pair.at >= REPEAT_AFTER;
}

export const isSecondLook = (number) => repeatIsDue(page.pairs[number], true, 0);

// Give each pair the count of decisions when it was decided, and return their number.
function datePairs() {
  const entries = counted();
  entries.forEach((entry, n) => {
    const number = page.byId.get(keyOf(entry.dataset, entry.record_id));
    if (number !== undefined && !entry.repeat) page.pairs[number].at = n + 1;
  });
  return entries.length;
}

// The next pairs to judge, from a place in the order on: second looks that are due, pairs never
// judged, and at the end those unsure or flagged, oldest first, and second looks that are left.
export function upcoming(from, wanted) {
  const decided = datePairs();
  const here = page.order[from];
  const list = page.order.filter((number) => repeatIsDue(page.pairs[number], false, decided));
  for (let step = 1; step <= page.order.length && list.length < wanted; step += 1) {
    const number = page.order[(from + step) % page.order.length]; // the last one is `here` itself
    if (!verdictOf(page.pairs[number])) list.push(number);
  }
  if (list.length < wanted) {
    const open = page.order.filter((number) => {
      const verdict = verdictOf(page.pairs[number]);
      return verdict && isOpen(verdict) && !isOpenTwice(page.pairs[number]);
    });
    open.sort((a, b) => page.pairs[a].at - page.pairs[b].at);
    list.push(...open.filter((number) => number !== here), ...open.filter((n) => n === here));
    list.push(...page.order.filter((number) => repeatIsDue(page.pairs[number], true, decided)));
  }
  return [...new Set(list)].slice(0, wanted);
}
