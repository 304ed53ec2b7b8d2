// Start: ask the server for everything, build the page, show the first pair.

import { apply, isSecondLook } from "./decisions.js";
import { buildControls, listenToKeys } from "./keys.js";
import { listenToMouse } from "./mouse.js";
import { onStrip } from "./panel.js";
import { fit, frame, paint } from "./render.js";
import { changedElsewhere, finished, firstToJudge, look, show, watchClock } from "./review.js";
import { ask, poll } from "./server.js";
import { $, keyOf, page, showTrouble } from "./state.js";

function takeSession(session) {
  Object.assign(page, session, { entries: [], order: session.pairs.map((_, n) => n) });
  document.title = `${session.root}: bcseg review`;
  page.pairs.forEach((pair, n) => {
    page.byId.set(keyOf(pair.dataset, pair.record_id), n);
    if (!page.groups.has(pair.group)) page.groups.set(pair.group, []);
    page.groups.get(pair.group).push(n);
  });
  for (const [action, keys] of Object.entries(page.keys)) for (const key of keys) page.actions.set(key, action);
  for (const entry of session.entries) apply(entry);
}

// The pair in the address, where the page was left or a link points.
function askedFor() {
  const [dataset, record] = location.hash.slice(1).split("/").map((word) => {
    try { return decodeURIComponent(word); } catch { return ""; }
  });
  return page.byId.get(keyOf(dataset, record));
}

async function start() {
  takeSession(await (await ask("api/session")).json());
  buildControls();
  listenToKeys();
  listenToMouse();
  watchClock();
  onStrip(look);
  fit();
  new ResizeObserver(() => { fit(); frame(); paint(); }).observe($("panes"));
  setTimeout(poll, 1000, changedElsewhere);
  const first = firstToJudge(askedFor());
  await show(first ?? page.order[0], { again: first !== undefined && isSecondLook(first) });
  if (first === undefined) finished();
  document.body.dataset.started = "yes";
}

start().catch((error) => {
  page.lost = error.message;
  showTrouble();
});
