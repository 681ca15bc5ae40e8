// Events as they happen, newest first, with filters that stay in the address; a click on a row shows all of it.

import { button, code, element } from "../dom.js";
import { EventList, nameOf } from "../event_list.js";
import { field } from "../form.js";
import { facts } from "../table.js";
import { count, when } from "../words.js";

export const title = "Events";

const TYPING = 250; // milliseconds without a key before an id is looked up
const AGAIN = 3000; // milliseconds before a stream that ended is opened again
const FILTERS = ["id", "client", "route", "event", "outcome"];
const OUTCOMES = [["", "any"], "allowed", "refused", "observed", "changed", "failed"];

export function show(panel, context) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, context.parameters.get(name) ?? ""]));
  const answer = element("div");
  const list = new EventList();
  const bar = filterBar(filters, list.tools, () => {
    context.keep(filters);
    list.filter((event) => matches(event, filters));
    showWhy();
  });
  const showWhy = latest((isCurrent) => whyOf(filters.id, context, answer, isCurrent), TYPING);
  panel.append(bar.node, answer, list.node);
  list.filter((event) => matches(event, filters));
  list.whenNamed(bar.offer);
  showWhy();
  followAgain(context, list);
}

// --- filters ---

const LABELS = { id: "Request id", client: "Client", route: "Route", event: "Event", outcome: "Outcome" };

function filterBar(filters, tools, onChange) {
  const lists = Object.fromEntries(["route", "event"].map((name) => [name, knownOf(name)]));
  const clear = button("Clear", () => {
    for (const input of node.elements) if (input.name) input.value = "";
    changed();
  });
  const more = button("More filters", () => showAll(!node.classList.contains("all")), { className: "phone" });
  const node = element(
    "form",
    { className: "bar filters", "aria-label": "Filter events", autocomplete: "off" },
    FILTERS.map((name) => filterField(name, filters[name], lists[name])),
    element("div", { className: "actions" }, clear, more, tools),
    Object.values(lists),
  );
  const changed = () => {
    for (const name of FILTERS) filters[name] = node.elements[name].value.trim();
    onChange();
  };
  // A phone shows the first two of them, unless another one is set.
  const showAll = (isAll) => {
    node.classList.toggle("all", isAll);
    more.setAttribute("aria-expanded", String(isAll));
  };
  showAll(FILTERS.slice(2).some((name) => filters[name]));
  node.oninput = changed;
  node.onsubmit = (submitted) => submitted.preventDefault();
  const offer = (known) => {
    for (const [name, values] of Object.entries(known)) {
      lists[name].replaceChildren(...[...values].toSorted().map((value) => element("option", { value })));
    }
  };
  return { node, offer };
}

const knownOf = (name) => element("datalist", { id: `known-${name}` });

function filterField(name, value, known) {
  const label = LABELS[name];
  if (name === "outcome") return field({ label, name, kind: "select", options: OUTCOMES, value });
  return field({ label, name, kind: "search", value, maxLength: 128, list: known?.id });
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
  const access = lines.find((line) => line.detail.duration_ms !== undefined);
  const head = element("h2", {}, "Request ", code(id));
  if (reason)
    return element(
      "section",
      { className: "card why" },
      head,
      facts(reason.lines.map((line) => [line.slice(0, 8).trim(), line.slice(9)])),
    );
  if (access)
    return element(
      "section",
      { className: "card why" },
      head,
      element(
        "p",
        {},
        "It was not refused: status ",
        code(String(access.status)),
        ` in ${access.detail.duration_ms} ms, route ${access.route ?? "none"}, `,
        when(access.ts),
        ".",
      ),
    );
  return element(
    "section",
    { className: "card why" },
    head,
    element("p", {}, "Nothing is kept of it here. Look into the log: ", code(`sidecar why ${id} --log FILE`)),
  );
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
  if (hasRestarted(events, list.last)) list.last = null;
  for (const event of events) list.add(event);
  for await (const message of api.events(signal, list.last?.seq)) {
    if (message.kind === "missed") list.say(`${count(message.count)} events were too many to show`);
    else list.say("live");
    if (message.kind === "event") list.add(message.event);
  }
}
