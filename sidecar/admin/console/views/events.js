// Events as they happen, newest first, with filters that stay in the address; a click on a row shows all of it.

import { copyButton } from "../dialog.js";
import { badge, button, code, element, link } from "../dom.js";
import { field } from "../form.js";
import { facts, tableRow } from "../table.js";
import { count, when } from "../words.js";

export const title = "Events";

const KEPT = 2000; // events that filters look at
const SHOWN = 250; // rows
const DRAWN = 200; // milliseconds between two drawings
const TYPING = 250; // milliseconds without a key before an id is looked up
const AGAIN = 3000; // milliseconds before a stream that ended is opened again
const FILTERS = ["id", "client", "route", "event", "outcome"];
const OUTCOMES = [["", "any"], "allowed", "refused", "observed", "changed", "failed"];
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

export function show(panel, context) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, context.parameters.get(name) ?? ""]));
  const answer = element("div");
  const list = listOf();
  const bar = filterBar(filters, list.tools, () => {
    context.keep(filters);
    list.filter(filters);
    showWhy();
  });
  const showWhy = latest((isCurrent) => whyOf(filters.id, context, answer, isCurrent), TYPING);
  panel.append(bar.node, answer, list.node);
  list.filter(filters);
  showWhy();
  list.onNames = bar.offer;
  followAgain(context, list);
}

// --- filters ---

function filterBar(filters, tools, onChange) {
  const labels = { id: "Request id", client: "Client", route: "Route", event: "Event", outcome: "Outcome" };
  const lists = Object.fromEntries(["route", "event"].map((name) => [name, element("datalist", { id: `known-${name}` })]));
  const fields = FILTERS.map((name) =>
    name === "outcome"
      ? field({ label: labels[name], name, kind: "select", options: OUTCOMES, value: filters[name] })
      : field({ label: labels[name], name, kind: "search", value: filters[name], maxLength: 128, list: lists[name] && `known-${name}` }),
  );
  const clear = button("Clear", () => {
    for (const input of node.elements) if (input.name) input.value = "";
    changed();
  });
  const node = element("form", { className: "bar filters", "aria-label": "Filter events", autocomplete: "off" }, fields, element("div", { className: "actions" }, clear, tools), Object.values(lists));
  const changed = () => {
    for (const name of FILTERS) filters[name] = node.elements[name].value.trim();
    onChange();
  };
  node.oninput = changed;
  node.onsubmit = (submitted) => submitted.preventDefault();
  const offer = (name, values) => lists[name].replaceChildren(...[...values].toSorted().map((value) => element("option", { value })));
  return { node, offer };
}

function matches(event, { id, client, route, event: name, outcome }) {
  return (
    (!id || (event.request_id ?? "").startsWith(id)) &&
    (!client || (event.client_ip ?? "").startsWith(client)) &&
    (!route || (event.route ?? event.path ?? "").includes(route)) &&
    (!name || nameOf(event).includes(name.toUpperCase())) &&
    (!outcome || event.outcome === outcome)
  );
}

const nameOf = (event) => event.event ?? "ACCESS";

// --- the list ---

function listOf() {
  const all = []; // oldest first
  const body = element("tbody", { role: "rowgroup" });
  const state = element("span", { role: "status", className: "following" });
  const pause = button("Pause", undefined, { "aria-pressed": "false" });
  const none = element("p", { className: "empty" }, "No event matches.");
  const seen = { route: new Set(), event: new Set() };
  let filters = {};
  let waiting = [];
  let isDrawing = false;
  let pausedBy = "";
  let said = "connecting…";

  const list = {
    tools: [pause, state],
    node: element("div", { className: "events" }, tableOf(body), none),
    last: 0,
    lastEvent: null,
    onNames: () => {},
    add(event) {
      if (event.seq <= list.last) return;
      list.last = event.seq;
      list.lastEvent = event;
      waiting.push(event);
      if (waiting.length > KEPT) waiting.shift();
      draw();
    },
    startAgain() {
      list.last = 0;
      list.lastEvent = null;
    },
    filter(wanted) {
      filters = wanted;
      if (pausedBy === "details") pauseBy("");
      body.replaceChildren(...all.filter((event) => matches(event, filters)).slice(-SHOWN).reverse().map(rowOf));
      none.hidden = body.rows.length > 0;
    },
    say(text) {
      said = text;
      tell();
    },
  };

  const tell = () => (state.textContent = pausedBy ? `paused, ${count(waiting.length)} new` : said);
  // Drawn a few times a second, however many events come.
  const draw = () => {
    if (isDrawing) return;
    isDrawing = true;
    setTimeout(() => {
      isDrawing = false;
      if (!pausedBy) takeOver();
      tell();
    }, DRAWN);
  };
  const takeOver = () => {
    const fresh = waiting;
    waiting = [];
    all.push(...fresh);
    all.splice(0, Math.max(0, all.length - KEPT));
    body.prepend(...fresh.filter((event) => matches(event, filters)).slice(-SHOWN).reverse().map(rowOf));
    while (body.rows.length > SHOWN) body.lastElementChild.remove();
    none.hidden = body.rows.length > 0;
    learn(fresh);
  };
  const learn = (fresh) => {
    const sizes = () => seen.route.size + seen.event.size;
    const before = sizes();
    for (const event of fresh) {
      seen.event.add(nameOf(event));
      if (event.route && seen.route.size < 100) seen.route.add(event.route);
    }
    if (sizes() > before) for (const name of Object.keys(seen)) list.onNames(name, seen[name]);
  };
  const pauseBy = (who) => {
    pausedBy = who;
    pause.setAttribute("aria-pressed", String(who !== ""));
    draw();
  };
  pause.onclick = () => pauseBy(pausedBy ? "" : "button");

  // Details open below their row. While some are open nothing moves: the list pauses.
  const rowOf = (event) => {
    const row = tableRow(COLUMNS, event);
    const toggle = button("", undefined, { className: "toggle plain", "aria-expanded": "false", "aria-label": `Details of ${nameOf(event)}` });
    row.firstElementChild.prepend(toggle);
    row.onclick = () => {
      if (getSelection().toString()) return; // someone copies an id
      const isOpen = toggle.getAttribute("aria-expanded") === "true";
      toggle.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) row.nextElementSibling.remove();
      else row.after(element("tr", { role: "row", className: "details" }, element("td", { role: "cell", colSpan: COLUMNS.length }, detailsOf(event))));
      const areOpen = body.querySelector(".details") !== null;
      if (areOpen && !pausedBy) pauseBy("details");
      else if (!areOpen && pausedBy === "details") pauseBy("");
    };
    return row;
  };
  return list;
}

function tableOf(body) {
  const head = COLUMNS.map((column) => element("th", { scope: "col", role: "columnheader" }, column.title));
  return element("table", { className: "live", role: "table" }, element("caption", { className: "hidden" }, "Events, newest first"), element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)), body);
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
      ...Object.entries(others).map(([name, value]) => [name, code(typeof value === "object" ? JSON.stringify(value) : String(value))]),
      ["Trace", event.trace_id && code(event.trace_id)],
    ]),
    element(
      "p",
      { className: "links" },
      id && link(event.outcome === "refused" ? "Why was it refused?" : "All of this request", "events", { id }),
      event.path && link("Explain such a request", "explain", { method: event.method, path: event.path, ip: client }),
      client && link("All of this client", "events", { client }),
      event.event && link(`All ${event.event}`, "events", { event: event.event }),
      copyButton(JSON.stringify(event), "Copy as JSON"),
    ),
  );
}

function placeOf(place) {
  const line = /:(\d+)$/.exec(place);
  return line ? link(place, "policy", { line: line[1] }) : code(place);
}

// --- one request ---

// Runs the last of several calls, after a pause, and tells it whether it still is the last one.
function latest(work, pause) {
  let number = 0;
  return () => {
    const mine = (number += 1);
    const isCurrent = () => mine === number;
    setTimeout(() => isCurrent() && work(isCurrent), mine === 1 ? 0 : pause);
  };
}

async function whyOf(id, { api, attempt }, place, isCurrent) {
  place.replaceChildren();
  if (!id) return;
  await attempt(async () => {
    const found = await api.get(`/api/why/${encodeURIComponent(id)}`);
    if (isCurrent()) place.replaceChildren(answerOf(id, found));
  });
}

function answerOf(id, { reason, lines }) {
  const access = lines.find((line) => line.outcome !== "refused" || line.event === null);
  const head = element("h2", {}, "Request ", code(id));
  if (reason) return element("section", { className: "card why" }, head, facts(reason.lines.map((line) => [line.slice(0, 8).trim(), line.slice(9)])));
  if (access) return element("section", { className: "card why" }, head, element("p", {}, "It was not refused: status ", code(String(access.status)), ` in ${access.detail.duration_ms} ms, route ${access.route ?? "none"}, `, when(access.ts), "."));
  return element("section", { className: "card why" }, head, element("p", {}, "Nothing is kept of it here. Look into the log: ", code(`sidecar why ${id} --log FILE`)));
}

// --- the stream ---

async function followAgain(context, list) {
  const { signal, attempt } = context;
  while (!signal.aborted) {
    await attempt(() => follow(context, list));
    if (signal.aborted) return;
    list.say("the stream ended, connecting again…");
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

// A process numbers its events from 1: the number that was seen last is then missing, or is another event's.
function hasRestarted(events, last) {
  if (!last) return false;
  const newest = events.at(-1)?.seq ?? 0;
  const same = events.find((event) => event.seq === last.seq);
  return newest < last.seq || (same !== undefined && same.ts !== last.ts);
}

async function follow({ api, signal }, list) {
  const { events } = await api.get("/api/events?limit=500");
  if (hasRestarted(events, list.lastEvent)) list.startAgain();
  events.forEach(list.add);
  for await (const message of api.events(signal, list.last)) {
    if (message.kind === "missed") list.say(`${count(message.count)} events were too many to show`);
    else list.say("live");
    if (message.kind === "event") list.add(message.event);
  }
}
