// The live view: newest first, at most KEPT rows in the page.

import { byId, element, span, when } from "./dom.js";

const KEPT = 500;
const AGAIN = 3000;

export function liveEvents(api, onProblem) {
  const body = byId("events");
  const filter = byId("filter");
  const pause = byId("pause");
  const live = byId("live");
  const stop = new AbortController();
  let waiting = [];
  let last = 0;

  const isPaused = () => pause.getAttribute("aria-pressed") === "true";
  const matches = (row) => row.dataset.text.includes(filter.value.trim().toLowerCase());
  const show = (event) => {
    if (event.seq <= last) return;
    last = event.seq;
    const row = line(event);
    row.hidden = !matches(row);
    body.prepend(row);
    while (body.rows.length > KEPT) body.lastElementChild.remove();
  };

  pause.onclick = () => {
    pause.setAttribute("aria-pressed", String(!isPaused()));
    if (isPaused()) return;
    waiting.forEach(show);
    waiting = [];
    live.textContent = "live";
  };
  filter.oninput = () => {
    for (const row of body.rows) row.hidden = !matches(row);
  };

  async function follow() {
    while (!stop.signal.aborted) {
      try {
        for await (const message of api.events(stop.signal)) {
          if (message.kind === "missed") live.textContent = `${message.count} events were too many to show`;
          else if (!isPaused()) live.textContent = "live";
          if (message.kind !== "event") continue;
          if (!isPaused()) show(message.event);
          else {
            waiting = [...waiting.slice(1 - KEPT), message.event];
            live.textContent = `paused, ${waiting.length} new`;
          }
        }
      } catch (problem) {
        if (stop.signal.aborted) return;
        if (problem.status === 401 || problem.status === 403) return onProblem(problem);
      }
      live.textContent = "the stream ended, connecting again…";
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
  follow();

  return () => {
    stop.abort();
    body.replaceChildren();
    live.textContent = "";
    pause.setAttribute("aria-pressed", "false");
  };
}

function line(event) {
  const detail = Object.entries(event.detail ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");
  const name = event.event ?? "ACCESS";
  const row = element(
    "tr",
    {},
    element("td", {}, when(event.ts)),
    element("td", {}, span(name, event.level)),
    element("td", {}, event.status ? `${event.outcome} (${event.status})` : event.outcome),
    element("td", {}, event.client_ip ?? "–"),
    element("td", {}, event.organization ?? "–"),
    element("td", {}, event.route ?? event.path ?? "–"),
    element("td", {}, element("code", {}, detail)),
  );
  row.dataset.text = [name, event.outcome, event.client_ip, event.organization, event.route, event.path, detail]
    .join(" ")
    .toLowerCase();
  return row;
}
