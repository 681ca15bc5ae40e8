// The live view: newest first, at most KEPT rows in the page.

import { badge, button, code, element } from "../dom.js";
import { field } from "../form.js";
import { tableRow } from "../table.js";
import { when } from "../words.js";

export const title = "Events";

const KEPT = 500;
const AGAIN = 3000;

const COLUMNS = [
  { title: "Time", cell: (event) => when(event.ts) },
  { title: "Event", cell: (event) => badge(event.event ?? "ACCESS", event.level === "info" ? "" : "warn") },
  { title: "Outcome", cell: (event) => (event.status ? `${event.outcome} (${event.status})` : event.outcome) },
  { title: "Client", cell: (event) => event.client_ip },
  { title: "Organization", cell: (event) => event.organization },
  { title: "Route", cell: (event) => event.route ?? event.path },
  { title: "Detail", cell: (event) => code(detailOf(event)) },
];

export function show(panel, { api, attempt, signal }) {
  const body = element("tbody");
  const search = field({ label: "Show", name: "filter", kind: "search", placeholder: "event, address, organization, route…" });
  const filter = search.querySelector("input");
  const live = element("span", { role: "status" });
  const pause = button("Pause", undefined, { "aria-pressed": "false" });
  let waiting = [];
  let last = 0;

  const isPaused = () => pause.getAttribute("aria-pressed") === "true";
  const matches = (row) => row.dataset.text.includes(filter.value.trim().toLowerCase());
  const add = (event) => {
    if (event.seq <= last) return;
    last = event.seq;
    const row = tableRow(COLUMNS, event);
    row.dataset.text = [event.event ?? "ACCESS", event.outcome, event.client_ip, event.organization, event.route, event.path, detailOf(event)].join(" ").toLowerCase();
    row.hidden = !matches(row);
    body.prepend(row);
    while (body.rows.length > KEPT) body.lastElementChild.remove();
  };

  pause.onclick = () => {
    pause.setAttribute("aria-pressed", String(!isPaused()));
    if (isPaused()) return;
    waiting.forEach(add);
    waiting = [];
    live.textContent = "live";
  };
  filter.oninput = () => {
    for (const row of body.rows) row.hidden = !matches(row);
  };

  async function follow() {
    for await (const message of api.events(signal, last)) {
      if (message.kind === "missed") live.textContent = `${message.count} events were too many to show`;
      else if (!isPaused()) live.textContent = "live";
      if (message.kind !== "event") continue;
      if (!isPaused()) add(message.event);
      else {
        waiting = [...waiting.slice(1 - KEPT), message.event];
        live.textContent = `paused, ${waiting.length} new`;
      }
    }
  }

  async function followAgain() {
    while (!signal.aborted) {
      await attempt(follow);
      if (signal.aborted) return;
      live.textContent = "the stream ended, connecting again…";
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }

  const head = element("tr", {}, COLUMNS.map((column) => element("th", { scope: "col" }, column.title)));
  panel.append(
    element("div", { className: "bar" }, search, pause, live),
    element("table", { className: "cards" }, element("caption", { className: "hidden" }, "Recent events, newest first"), element("thead", {}, head), body),
  );
  followAgain();
}

function detailOf(event) {
  return Object.entries(event.detail ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");
}
