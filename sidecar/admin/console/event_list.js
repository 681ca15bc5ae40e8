// The list of live events: what matches the filters, newest first, in rows of one height; details open below their row.

import { copyButton } from "./dialog.js";
import { badge, button, code, element, link } from "./dom.js";
import { facts, tableRow } from "./table.js";
import { count, when } from "./words.js";

const KEPT = 2000; // events that filters look at
const SHOWN = 250; // rows
const DRAWN = 200; // milliseconds between two drawings, however many events come
const MOST_NAMES = 100;
const KINDS = { refused: "warn", observed: "warn", failed: "bad", changed: "", allowed: "" };

const COLUMNS = [
  { title: "Time", cell: (event) => when(event.ts) },
  { title: "Request id", cell: (event) => event.request_id && code(event.request_id), className: "id" },
  { title: "Event", cell: (event) => nameOf(event) },
  { title: "Outcome", cell: (event) => badge(event.outcome, KINDS[event.outcome]) },
  { title: "Client", cell: (event) => event.client_ip },
  { title: "Route", cell: (event) => event.route ?? event.path },
  { title: "Status", cell: (event) => event.status },
];

export const nameOf = (event) => event.event ?? "ACCESS";

// `node` is the table, `tools` the pause button and the word beside it. `last` is the event that came last.
export class EventList {
  last = null;
  #matches = () => true;
  #onNames = () => {};
  #kept = []; // oldest first
  #waiting = [];
  #pausedBy = ""; // "button", or "details": while some are open nothing moves
  #said = "connecting…";
  #isDrawing = false;
  #names = { route: new Set(), event: new Set() };
  #body = element("tbody", { role: "rowgroup" });
  #none = element("p", { className: "empty" }, "No event matches.");
  #state = element("span", { role: "status", className: "following" });
  #pause = button("Pause", () => this.#pauseBy(this.#pausedBy ? "" : "button"), { "aria-pressed": "false" });

  constructor() {
    this.node = element("div", { className: "events" }, tableOf(this.#body), this.#none);
    this.tools = [this.#pause, this.#state];
  }

  // Takes an event unless it is here already.
  add(event) {
    if (this.last && event.seq <= this.last.seq) return;
    this.last = event;
    this.#waiting.push(event);
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    this.#draw();
  }

  // Shows what `matches` says, from now on and of what is kept.
  filter(matches) {
    this.#matches = matches;
    if (this.#pausedBy === "details") this.#pauseBy("");
    this.#body.replaceChildren(...this.#rowsOf(this.#kept));
    this.#none.hidden = this.#body.rows.length > 0;
  }

  // Shows a word about the connection.
  say(text) {
    this.#said = text;
    this.#tell();
  }

  // `tell` hears of the routes and events that were seen, for suggestions.
  whenNamed(tell) {
    this.#onNames = tell;
  }

  #draw() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    setTimeout(() => {
      this.#isDrawing = false;
      if (!this.#pausedBy) this.#takeOver();
      this.#tell();
    }, DRAWN);
  }

  #takeOver() {
    const fresh = this.#waiting;
    this.#waiting = [];
    this.#kept = [...this.#kept, ...fresh].slice(-KEPT);
    this.#body.prepend(...this.#rowsOf(fresh));
    while (this.#body.rows.length > SHOWN) this.#body.lastElementChild.remove();
    this.#none.hidden = this.#body.rows.length > 0;
    this.#learn(fresh);
  }

  #rowsOf(events) {
    const shown = events.filter(this.#matches).slice(-SHOWN).reverse();
    return shown.map((event) => rowOf(event, () => this.#toggled()));
  }

  #toggled() {
    const areOpen = this.#body.querySelector(".details") !== null;
    if (areOpen && !this.#pausedBy) this.#pauseBy("details");
    else if (!areOpen && this.#pausedBy === "details") this.#pauseBy("");
  }

  #pauseBy(who) {
    this.#pausedBy = who;
    this.#pause.setAttribute("aria-pressed", String(who !== ""));
    this.#draw();
  }

  #tell() {
    this.#state.textContent = this.#pausedBy ? `paused, ${count(this.#waiting.length)} new` : this.#said;
  }

  #learn(events) {
    const { route, event: names } = this.#names;
    const before = route.size + names.size;
    for (const event of events) {
      names.add(nameOf(event));
      if (event.route && route.size < MOST_NAMES) route.add(event.route);
    }
    if (route.size + names.size > before) this.#onNames(this.#names);
  }
}

function tableOf(body) {
  const head = COLUMNS.map((column) => element("th", { scope: "col", role: "columnheader" }, column.title));
  return element(
    "table",
    { className: "live", role: "table" },
    element("caption", { className: "hidden" }, "Events, newest first"),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)),
    body,
  );
}

function rowOf(event, onToggle) {
  const row = tableRow(COLUMNS, event);
  const toggle = button("", undefined, {
    className: "toggle plain",
    "aria-expanded": "false",
    "aria-label": `Details of ${nameOf(event)}`,
  });
  row.firstElementChild.prepend(toggle);
  row.onclick = () => {
    if (getSelection().toString()) return; // someone copies an id
    const isOpen = toggle.getAttribute("aria-expanded") === "true";
    toggle.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) row.nextElementSibling.remove();
    else row.after(detailsRow(event));
    onToggle();
  };
  return row;
}

function detailsRow(event) {
  const cell = element("td", { role: "cell", colSpan: COLUMNS.length }, detailsOf(event));
  return element("tr", { role: "row", className: "details" }, cell);
}

function detailsOf(event) {
  const { detail = {}, request_id: id, client_ip: client } = event;
  const { guard, place, policy, code: refusal, ...others } = detail;
  return element(
    "div",
    {},
    facts([
      ["Request id", id && code(id)],
      ["Time", event.ts],
      ["Refused as", refusal && code(refusal)],
      ["Guard", guard],
      ["Policy line", place && placeOf(place)],
      ["Policy digest", policy && code(policy)],
      ["Method and path", event.path && code(`${event.method ?? ""} ${event.path}`)],
      ["Client", client],
      ["Organization", event.organization],
      ["Session", event.session && code(`${event.session}…`)],
      ["Route", event.route],
      ...Object.entries(others).map(([name, value]) => [
        name,
        code(typeof value === "object" ? JSON.stringify(value) : String(value)),
      ]),
      ["Trace", event.trace_id && code(event.trace_id)],
    ]),
    element(
      "p",
      { className: "links" },
      id && link(event.outcome === "refused" ? "Why was it refused?" : "All of this request", "events", { id }),
      event.path && link("Explain such a request", "explain", { method: event.method, path: event.path, ip: client }),
      client && link("All of this client", "events", { client }),
      client && link("Its windows", "limits", { type: "ip", key: client }),
      event.session && link("Windows of the session", "limits", { type: "session", key: event.session }),
      event.event && link(`All ${event.event}`, "events", { event: event.event }),
      copyButton(JSON.stringify(event), "Copy as JSON"),
    ),
  );
}

function placeOf(place) {
  const line = /:(\d+)$/.exec(place);
  return line ? link(place, "policy", { line: line[1] }) : code(place);
}
