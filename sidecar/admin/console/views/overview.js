// What happens now: what needs attention first, then an hour of numbers.

import { barChart, lineChart, share } from "../chart.js";
import { change } from "../dialog.js";
import { badge, button, code, element, keepingFocus, link } from "../dom.js";
import { field } from "../form.js";
import { facts, table } from "../table.js";
import { count, counted, dollars, duration, milliseconds, when } from "../words.js";

export const title = "Overview";
export const needs = { all: true };

const EVERY = 10;
const MANY = 30; // refusals of two minutes

export function show(panel, context) {
  const { api, every, now } = context;
  const requests = barChart({
    title: "Requests a minute",
    unit: "requests",
    show: count,
    parts: [
      { name: "passed", className: "passed", value: (minute) => minute.requests - minute.refused - minute.failed },
      { name: "refused", className: "refused", value: (minute) => minute.refused },
      { name: "failed", className: "failed", value: (minute) => minute.failed },
    ],
  });
  const times = lineChart({
    title: "Duration of requests",
    unit: "",
    show: milliseconds,
    parts: [
      { name: "p50", className: "half", value: (minute) => minute.p50 },
      { name: "p95", className: "passed", value: (minute) => minute.p95 },
    ],
  });
  const tokens = barChart({
    title: "Tokens a minute",
    unit: "tokens",
    show: count,
    parts: [{ name: "tokens", className: "passed", value: (minute) => minute.tokens }],
  });
  const asOf = element("p", { className: "hint as-of" });
  const attention = element("div", { className: "attention" });
  const tiles = element("div", { className: "tiles" });
  const rest = element("div", { className: "columns" });
  panel.append(
    asOf,
    attention,
    tiles,
    element("div", { className: "columns charts" }, requests.node, times.node, tokens.node),
    rest,
  );

  const draw = (state) => {
    asOf.replaceChildren(`${state.replica}, version ${state.version}, as of `, when(state.at));
    attention.replaceChildren(attentionOf(state, now()));
    tiles.replaceChildren(...tilesOf(state));
    requests.draw(state.minutes);
    times.draw(state.minutes);
    tokens.node.hidden = state.total.input_tokens + state.total.output_tokens === 0;
    tokens.draw(state.minutes);
    rest.replaceChildren(
      refusalsOf(state),
      routesOf(state),
      clientsOf(state),
      eventsOf(state),
      timesOf(state),
      partsOf(state, context, refresh),
    );
  };
  const refresh = async () => {
    const state = await api.get("/api/overview");
    if (!getSelection().toString()) keepingFocus(panel, () => draw(state)); // someone may be copying a number
  };
  every(EVERY, refresh);
}

// --- what needs attention ---

function attentionOf(state, now) {
  const found = findings(state);
  const lines = found.map(([kind, ...text]) =>
    element("li", {}, badge(kind === "bad" ? "now" : "look", kind), element("span", {}, text)),
  );
  const since = duration((now - new Date(state.policy.loaded_at)) / 1000);
  if (!found.length)
    return element(
      "p",
      { className: "card calm" },
      badge("fine", "good"),
      ` Nothing needs attention. The policy has been in force for ${since}.`,
    );
  return element("ul", { className: "card", "aria-label": "What needs attention" }, lines);
}

// Events that someone should look at, however rare.
const NOTEWORTHY = {
  GUARD_FAILED: ["bad", "Guards that failed"],
  CREDENTIAL_UNAVAILABLE: ["bad", "Requests without a usable key"],
  SECRET_REDACTED: ["warn", "Secrets that were taken out of answers"],
  USAGE_ANOMALY: ["warn", "Unusual usage"],
  BUDGET_EXCEEDED: ["warn", "Requests beyond their budget"],
  IP_BANNED: ["warn", "New bans"],
};

// [how urgent, text and links …], the most urgent first.
function findings(state) {
  const { policy, stores, vault, backend, maintenance } = state;
  const down = Object.keys(stores).filter((name) => stores[name] !== "up");
  const rules = [
    [maintenance.on, "bad", "Maintenance mode: every request is refused with “", maintenance.message, "”."],
    [state.not_ready.length, "bad", `Not ready: ${state.not_ready.join(", ")}.`],
    [backend.not_ready, "bad", `The backend is not ready: ${backend.not_ready}.`],
    [
      backend.errors,
      backend.errors * 10 > backend.answered ? "bad" : "warn",
      `The backend, in five minutes: ${counted(backend.errors, "error")}, ${counted(backend.answered, "answer")}. `,
      link("Show them", "events", { event: "BACKEND_ERROR" }),
    ],
    [down.length, "bad", `${down.join(", ")} does not answer: limits are counted in memory, each replica for itself.`],
    [
      policy.successful === false,
      "bad",
      "A newer policy was rejected; the old one is in force. ",
      link("See why", "policy"),
    ],
    [
      vault?.undecryptable,
      "bad",
      `${counted(vault?.undecryptable, "credential")} cannot be opened with this ENCRYPTION_KEY. `,
      link("Show them", "credentials"),
    ],
    [vault?.expired, "bad", `${counted(vault?.expired, "credential")} expired. `, link("Show them", "credentials")],
    [
      vault?.expiring,
      "warn",
      `${counted(vault?.expiring, "credential")} will expire within seven days. `,
      link("Show them", "credentials"),
    ],
    [
      policy.mode === "observe",
      "warn",
      "The policy only observes: nothing is refused. ",
      link("What would be", "events", { outcome: "observed" }),
    ],
    [
      state.undeclared_proxies.length,
      "warn",
      `Not in clients.trusted_proxies, but looks like a proxy: ${counted(state.undeclared_proxies.length, "peer")}. `,
      link("Show them", "policy"),
    ],
    many(state),
    ...Object.entries(NOTEWORTHY).map(([name, [kind, text]]) => [
      state.events[name],
      kind,
      `${text} in the hour: ${count(state.events[name])}. `,
      link("Show them", "events", { event: name }),
    ]),
    [state.log_dropped, "warn", `Lost: ${counted(state.log_dropped, "log line")}.`],
  ];
  const met = rules.filter(([isSo]) => isSo).map(([, ...finding]) => finding);
  return met.sort((one, other) => (one[0] === "bad" ? 0 : 1) - (other[0] === "bad" ? 0 : 1));
}

// Said while a third of the requests is refused, with the client that most of it concerns.
function many({ minutes, clients: [worst] }) {
  const [requests, refused] = ["requests", "refused"].map((name) =>
    minutes.slice(-2).reduce((sum, minute) => sum + minute[name], 0),
  );
  const who = worst
    ? [
        " Most often refused lately: ",
        link(worst.client, "events", { client: worst.client }),
        ` (${count(worst.refused)}).`,
      ]
    : [];
  return [
    refused >= MANY && refused * 3 > requests,
    "warn",
    `Of the last two minutes' ${count(requests)} requests ${count(refused)} were refused.`,
    ...who,
  ];
}

// --- numbers ---

function tilesOf({ minutes, total, times, streams, active_requests: active, sessions, bans }) {
  const whole = minutes.at(-2);
  const [last, named] = whole.requests ? [whole, "last minute"] : [minutes.at(-1), "this minute"];
  const kinds = Object.entries(streams)
    .filter(([, number]) => number)
    .map(([name, number]) => `${number} ${name}`);
  return [
    tile("Requests", `${count(last.requests)}`, `${named} · ${count(total.requests)} in the hour`),
    tile(
      link("Refused", "events", { outcome: "refused" }),
      percent(total.refused, total.requests),
      `${count(total.refused)} in the hour, ${count(last.refused)} ${named}`,
      total.refused > total.requests / 5 ? "warn" : "",
    ),
    tile(
      link("Failed", "events", { outcome: "failed" }),
      percent(total.failed, total.requests),
      `${count(total.failed)} in the hour, ${count(last.failed)} ${named}`,
      total.failed > total.requests / 100 ? "bad" : "",
    ),
    tile("Time, p95", milliseconds(times.duration.p95), `in the sidecar ${milliseconds(times.overhead.p95)}`),
    tile("Open now", count(active), kinds.length ? `of them ${kinds.join(", ")}` : "no streams"),
    tile("Tokens", count(total.input_tokens + total.output_tokens), `${dollars(total.cost_usd)} in the hour`),
    tile(link("Bans", "bans"), count(bans), counted(sessions, "session")),
  ];
}

function tile(name, number, hint, kind = "") {
  return element(
    "div",
    { className: "card tile" },
    element("p", { className: "name" }, name),
    element("p", { className: `figure ${kind}` }, number),
    element("p", { className: "hint" }, hint),
  );
}

const percent = (part, whole) =>
  whole ? `${((part / whole) * 100).toFixed(part && part / whole < 0.1 ? 1 : 0)} %` : "–";

function refusalsOf({ refusals, total }) {
  const most = Math.max(...refusals.map((row) => row.count), 1);
  const named = refusals.filter((row) => row.outcome === "refused").reduce((sum, row) => sum + row.count, 0);
  const rows =
    total.refused > named
      ? [
          ...refusals,
          {
            guard: "request",
            code: "NOT_FOUND and others without an event",
            outcome: "refused",
            count: total.refused - named,
          },
        ]
      : refusals;
  return section(
    "Refusals in the hour",
    table({
      caption: "Refusals in the last hour by guard and code",
      columns: [
        { title: "Guard", cell: (row) => row.guard || "–", className: "name" },
        {
          title: "Code",
          cell: (row) => [code(row.code), row.outcome === "observed" && [" ", badge("observed only", "warn")]],
        },
        { title: "Requests", cell: (row) => count(row.count), className: "number" },
        { title: "Share", cell: (row) => share(row.count, most), className: "shares minor" },
      ],
      rows,
      most: 12,
      isDense: true,
      empty: "No request was refused.",
    }),
  );
}

function routesOf({ routes }) {
  const most = Math.max(...routes.map((row) => row.requests), 1);
  return section(
    "Routes in the hour",
    table({
      caption: "Requests in the last hour by route",
      columns: [
        { title: "Route", cell: (row) => link(row.route, "events", { route: row.route }), className: "name" },
        { title: "Requests", cell: (row) => count(row.requests), className: "number" },
        { title: "Share", cell: (row) => share(row.requests, most, "passed"), className: "shares minor" },
        { title: "Refused", cell: (row) => count(row.refused), className: "number" },
        { title: "Failed", cell: (row) => count(row.failed), className: "number" },
        { title: "p50", cell: (row) => milliseconds(row.p50), className: "number minor" },
        { title: "p95", cell: (row) => milliseconds(row.p95), className: "number" },
      ],
      rows: routes,
      most: 12,
      isDense: true,
      empty: "No request came.",
    }),
  );
}

function clientsOf({ clients }) {
  const most = Math.max(...clients.map((row) => row.refused), 1);
  return section(
    "Clients that are refused most",
    table({
      caption: "Clients that were refused most often among the latest requests",
      columns: [
        { title: "Client", cell: (row) => link(row.client, "events", { client: row.client }), className: "name" },
        { title: "Refused", cell: (row) => count(row.refused), className: "number" },
        { title: "Share", cell: (row) => share(row.refused, most), className: "shares minor" },
        { title: "Of requests", cell: (row) => count(row.requests), className: "number" },
      ],
      rows: clients,
      isDense: true,
      empty: "No client was refused lately.",
    }),
  );
}

function eventsOf({ events }) {
  const rows = Object.entries(events);
  const most = Math.max(...rows.map(([, times]) => times), 1);
  return section(
    "Events in the hour",
    table({
      caption: "Events in the last hour by name",
      columns: [
        { title: "Event", cell: ([name]) => link(name, "events", { event: name }), className: "name" },
        { title: "Times", cell: ([, times]) => count(times), className: "number" },
        { title: "Share", cell: ([, times]) => share(times, most, "half"), className: "shares minor" },
      ],
      rows,
      most: 10,
      isDense: true,
      empty: "No event.",
    }),
  );
}

function timesOf({ times }) {
  const names = { duration: "Whole request", backend: "Backend, to the first byte", overhead: "In the sidecar" };
  return section(
    "Times in the hour",
    table({
      caption: "Percentiles of the last hour",
      columns: [
        { title: "What", cell: ([name]) => names[name] },
        ...["p50", "p95", "p99"].map((part) => ({
          title: part,
          cell: ([, values]) => milliseconds(values[part]),
          className: "number",
        })),
      ],
      isDense: true,
      rows: Object.entries(times).sort(
        ([one], [other]) => Object.keys(names).indexOf(one) - Object.keys(names).indexOf(other),
      ),
    }),
  );
}

function partsOf({ stores, backend, vault, policy, maintenance, dropped_headers: dropped }, context, refresh) {
  const shared = Object.entries(stores).filter(([name]) => name !== "memory");
  const headers = Object.entries(dropped);
  const names = headers.slice(0, 5).map(([name, times]) => `${name} (${count(times)})`);
  return section(
    "Parts",
    element(
      "div",
      { className: "card" },
      facts([
        ["Policy", [code((policy.digest ?? "").slice(0, 16)), " since ", when(policy.loaded_at)]],
        ...shared.map(([name, up]) => [name, badge(up, up === "up" ? "good" : "bad")]),
        ...(shared.length ? [] : [["Limits and bans", "in the memory of this process"]]),
        ["Backend", backendOf(backend)],
        ["Vault", vault ? counted(vault.credentials, "credential") : "off"],
        ["Dropped headers", headers.length ? [names.join(", "), " ", link("more", "policy")] : "none"],
        [
          "Maintenance",
          [
            maintenance.on ? badge("on", "bad") : "off",
            " ",
            context.may("operator") && switchOf(maintenance, context, refresh),
          ],
        ],
      ]),
    ),
  );
}

function backendOf({ not_ready: reason, errors, answered }) {
  if (reason) return badge("not ready", "bad");
  if (errors) return badge(counted(errors, "error"), "warn");
  return answered ? badge("answers", "good") : "not asked in five minutes";
}

function switchOf({ on }, { api, attempt, toast }, refresh) {
  if (on) {
    const off = () =>
      attempt(async () => {
        await api.remove("/api/maintenance");
        toast("This replica serves again.");
        await refresh();
      });
    return button("Serve again", off);
  }
  return button("Switch on…", () =>
    change({
      title: "Maintenance mode",
      text: "From now on this replica refuses every request with 503 and this message. Other replicas have switches of their own.",
      action: "Refuse all requests",
      fields: [
        field({
          label: "Message",
          name: "message",
          value: "The service is under maintenance",
          required: true,
          maxLength: 500,
        }),
        field({
          label: "Clients try again after, in seconds",
          name: "seconds",
          kind: "number",
          value: 300,
          min: 1,
          max: 86400,
        }),
      ],
      work: async ({ message, seconds }) => {
        await api.post("/api/maintenance", { message, retry_after: Number(seconds) });
        toast("Maintenance mode is on.");
        await refresh();
      },
    }),
  );
}

function section(name, content) {
  return element("section", {}, element("h2", {}, name), content);
}
