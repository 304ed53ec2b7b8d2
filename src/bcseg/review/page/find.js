// Filter and jump.

import { isOpen, upcoming, verdictOf } from "./decisions.js";
import { said } from "./panel.js";
import { look, show } from "./review.js";
import { page, say } from "./state.js";

function textOf(pair) {
  const verdict = verdictOf(pair);
  const words = [
    pair.dataset, pair.record_id, pair.laterality, pair.view, pair.kinds,
    ...pair.lesions.flatMap((one) => [one.kind, one.label]), pair.birads && `birads${pair.birads}`,
    pair.density && `density${pair.density}`, pair.pathology, pair.annotator, pair.split, pair.flags,
    verdict && said(verdict), isOpen(verdict) && "undecided",
  ];
  return words.filter(Boolean).join(" ").toLowerCase();
}

function matches(pair, words) {
  const text = textOf(pair);
  return words.every((word) => {
    const bound = /^([a-z_0-9]+)(<=|>=|<|>)(-?[\d.]+)$/.exec(word);
    if (!bound) return word.startsWith("-") && word.length > 1 ? !text.includes(word.slice(1)) : text.includes(word);
    const [, name, sign, number] = bound, scores = pair.scores || {}, limit = Number(number);
    const value = name in scores ? scores[name] : name in pair ? Number(pair[name]) : NaN;
    return { "<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit }[sign];
  });
}

export function filter(text) {
  if (page.busy) return;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = page.pairs.map((_, number) => number).filter((number) => matches(page.pairs[number], words));
  if (!chosen.length) return say(`no pair fits "${text}"`);
  page.filter = words.join(" ");
  page.order = chosen;
  page.home = -1;
  const [next] = chosen.includes(page.current) && !words.length ? [page.current] : upcoming(chosen.length - 1, 1);
  show(next === undefined ? chosen[0] : next);
}

export function filterHint() {
  const score = page.pairs.some((pair) => pair.scores && "precision_rank" in pair.scores) ? "precision_rank<0.2" : "mask_area_mm2<50";
  return `words that all must fit, -word must not: cbis mass undecided · reject oval · MLO -accept · ${score}\nempty: all pairs`;
}

export function jump(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return;
  const place = /^\d{1,6}$/.test(wanted) ? page.order[Number(wanted) - 1] : undefined;
  const exact = page.pairs.findIndex((pair) => pair.record_id.toLowerCase() === wanted);
  const near = page.pairs.findIndex((pair) => `${pair.dataset} ${pair.record_id}`.toLowerCase().includes(wanted));
  const found = exact >= 0 ? exact : place !== undefined ? place : near;
  if (found < 0) say(`no pair is called "${text}"`);
  else look(found);
}
