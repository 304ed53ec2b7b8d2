// The side bar, the progress above it and the strip of the last ten decisions below.

import { counted, isOpen, lesionVerdict, verdictOf } from "./decisions.js";
import { $, chosenLesion, keyOf, page, put } from "./state.js";

// What says most about a contour comes first; a table holds some forty scores.
const SCORES = {
  precision_rank: "precision rank", shape_rank: "shape rank", image_rank: "image rank",
  edge_offset_mm: "edge offset, mm (− loose)", edge_offset_px: "edge offset, px (− loose)",
  ellipse_iou: "like an ellipse", grad_align: "edge along the contour", weak_share: "share without an edge",
  straight_share: "straight share", tongue: "tongues", solidity: "solidity",
};
const LONGEST_LOOK = 300; // seconds: longer was a pause, not a look
const ARROWS = { ArrowRight: "→", ArrowDown: "↓", ArrowLeft: "←", ArrowUp: "↑" };

export const arrow = (key) => ARROWS[key] || key;
export const keyName = (action) => arrow((page.keys[action] || [])[0] || "");

export function said(entry) {
  const more = entry.reason || entry.note;
  return more ? `${entry.decision}: ${more}` : entry.decision;
}

// Other images of the patient: first the same view (another annotator), then the same side.
export function companions(number) {
  const pair = page.pairs[number];
  const far = (other) => 2 * (other.laterality !== pair.laterality) + (other.view !== pair.view);
  return (page.groups.get(pair.group) || [])
    .filter((one) => one !== number)
    .sort((a, b) => far(page.pairs[a]) - far(page.pairs[b]));
}

// ---------------------------------------------------------------------------------- side bar

export function showSidebar() {
  const pair = page.pairs[page.current];
  $("side").textContent = [pair.laterality, pair.view].filter(Boolean).join(" ") || "side unknown";
  const facts = $("facts");
  facts.replaceChildren();
  put(facts, "h3", pair.record_id);
  const place = page.order.indexOf(page.current) + 1;
  const where = page.home >= 0 ? "the other view" : place ? `${place} of ${page.order.length}` : "not in the filter";
  const area = pair.mask_area_mm2 ? `${Number(pair.mask_area_mm2).toFixed(0)} mm²` : `${pair.mask_pixels} px`;
  put(facts, "p", `${pair.dataset} · ${where}`);
  const words = [
    pair.kinds, pair.birads && `BI-RADS ${pair.birads}`, pair.density && `density ${pair.density}`,
    pair.pathology, pair.annotator && `annotator ${pair.annotator}`,
  ];
  put(facts, "p", words.filter(Boolean).join(" · "));
  put(facts, "p", `${area} · ${pair.height} × ${pair.width}${pair.mirrored ? " · shown unflipped" : ""}`);
  const others = companions(page.current).length;
  if (others) put(facts, "p", `${others} other image${others > 1 ? "s" : ""} of this patient (${keyName("other_view")})`);
  showLesions();
  showVerdict();
}

export function showLesions() {
  const pair = page.pairs[page.current], list = $("lesions");
  list.hidden = pair.lesions.length < 2;
  list.replaceChildren();
  pair.lesions.forEach((lesion, n) => {
    const judged = page.again ? null : lesionVerdict(pair, lesion.lesion_id);
    const words = [`lesion ${lesion.lesion_id}`, lesion.kind, lesion.annotator, judged && said(judged)];
    const item = put(list, "li", words.filter(Boolean).join(" · "), n === page.lesion ? "here" : "");
    if (judged) item.classList.add(judged.decision);
  });
  showScores(pair);
}

function showScores(pair) {
  const box = $("scores");
  box.replaceChildren();
  if (!pair.scores) return;
  const one = pair.lesions.length > 1 && page.lesion >= 0 ? pair.lesions[page.lesion] : pair;
  if (one.flags) {
    const flags = put(box, "p", "", "flags");
    for (const flag of one.flags.split(" ")) put(flags, "span", flag.replaceAll("_", " "));
  }
  const table = put(box, "table");
  for (const [name, label] of Object.entries(SCORES)) {
    if (!(name in one.scores) || (name === "edge_offset_px" && "edge_offset_mm" in one.scores)) continue;
    const row = put(table, "tr");
    put(row, "td", label);
    put(row, "td", String(Number(one.scores[name].toPrecision(3))));
  }
}

export function showVerdict() {
  if (page.current < 0) return;
  const pair = page.pairs[page.current], lesion = chosenLesion(pair);
  const judged = page.again ? null : lesion ? lesionVerdict(pair, lesion) : verdictOf(pair);
  const words = [lesion && `lesion ${lesion} alone`, judged && said(judged)];
  $("verdict").textContent = words.filter(Boolean).join(" · ");
  $("verdict").className = `corner ${judged ? `word-${judged.decision}` : ""}`;
}

// ---------------------------------------------------------------------------------- progress

export function tally() {
  const found = { decided: 0, unsure: 0, flag: 0, total: page.order.length };
  for (const number of page.order) {
    const verdict = verdictOf(page.pairs[number]);
    if (verdict) found[isOpen(verdict) ? verdict.decision : "decided"] += 1;
  }
  return found;
}

export function tallyText({ decided, unsure, flag, total }) {
  const words = [`${decided} of ${total} decided`, unsure && `${unsure} unsure`, flag && `${flag} flagged`];
  return words.filter(Boolean).join(", ");
}

export function showProgress() {
  const found = tally();
  const { decided, unsure, flag, total } = found;
  $("counts").textContent = tallyText(found);
  $("done").style.width = `${total ? (decided / total) * 100 : 0}%`;
  $("open").style.width = `${total ? ((unsure + flag) / total) * 100 : 0}%`;
  const entries = counted();
  $("pace").textContent = pace(entries, total - decided);
  showStrip(entries.slice(-10).reverse());
  $("filtered").hidden = !page.filter;
  $("filtered").textContent = page.filter ? `filter: ${page.filter} (${total})` : "";
}

function pace(entries, left) {
  const recent = entries.map((entry) => entry.seconds || 0).filter((s) => s > 0 && s < LONGEST_LOOK).slice(-30);
  if (recent.length < 3) return "";
  const mean = recent.reduce((sum, seconds) => sum + seconds, 0) / recent.length;
  const rate = `${Math.round(3600 / mean)} an hour`;
  return left ? `${rate} · ${duration(left * mean)} left` : rate;
}

function duration(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return "under a minute";
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

let openPair = () => {};
export const onStrip = (open) => { openPair = open; };

function showStrip(last) {
  const strip = $("strip");
  strip.replaceChildren();
  $("strip-title").textContent = last.length ? `last ${last.length}` : "no decision yet";
  for (const entry of last) {
    const number = page.byId.get(keyOf(entry.dataset, entry.record_id));
    const item = put(put(strip, "li"), "button", "", entry.decision);
    put(item, "b", entry.reason || entry.decision);
    put(item, "small", tail(entry.record_id));
    item.type = "button";
    item.title = `${said(entry)} · ${entry.dataset} ${entry.record_id} ${entry.lesion_id || ""}`;
    item.addEventListener("click", () => { item.blur(); if (number !== undefined) openPair(number); });
  }
}

const tail = (id) => (id.length > 13 ? `…${id.slice(-12)}` : id); // ids differ at their ends
