// Questions to the server, and what they bring back.

import { apply } from "./decisions.js";
import { page, showTrouble } from "./state.js";

const PATIENCE = 15000; // milliseconds until a decision counts as not saved
const GONE =
  "The server does not answer: nothing is being saved. Start `bcseg review` again and open the address it prints; what was saved is safe.";

export async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.ok) return answer;
  const kind = answer.headers.get("content-type") || "";
  const text = kind.includes("json") ? (await answer.json()).error : await answer.text();
  const refused = new Error(text || `the server answers ${answer.status}`);
  refused.status = answer.status;
  throw refused;
}

// Send a decision; what comes back is on the disk. `fetch` with its usual mode: only that sends
// the Origin which the server demands, whatever the referrer policy.
export async function send(path, values) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...values, after: page.last }),
    keepalive: true, // arrives even if the window is closed at once
    signal: AbortSignal.timeout(PATIENCE),
  });
  const news = await answer.json();
  take(news);
  return news;
}

function take(news) {
  for (const entry of news.entries) apply(entry);
  page.lost = "";
  page.trouble = news.warning || "";
  showTrouble();
}

// Ask now and then what other windows decided; `changed` is called when there was something.
export async function poll(changed) {
  try {
    const before = page.last;
    const options = { signal: AbortSignal.timeout(PATIENCE) };
    take(await (await ask(`api/changes?after=${page.last}`, options)).json());
    if (page.last !== before) changed();
  } catch (error) {
    page.lost = error.status ? error.message : GONE;
    showTrouble();
  }
  setTimeout(poll, document.hidden ? 5000 : 1000, changed);
}
