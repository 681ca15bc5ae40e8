// The policy in force: its state and text, every value with its origin, and what another policy would change.

import { badge, button, code, element, link } from "../dom.js";
import { copyButton } from "../dialog.js";
import { field, form } from "../form.js";
import { facts, table } from "../table.js";
import { count, counted, when } from "../words.js";

export const title = "Policy";

const MOST_VALUES = 400; // rows; the filter finds the others

export async function show(panel, context) {
  await context.attempt(async () => {
    const state = await context.api.get("/api/policy");
    panel.append(stateOf(state));
    if (!state.policy) return;
    panel.append(
      ...listed("A newer policy was rejected", state.problems, "bad"),
      ...listed("Worth a look", state.notes, "warn"),
      section("As it is written", textOf(state, context)),
      section("Every value, and where it comes from", valuesOf(context)),
      section("Try another policy", tryOut(state, context)),
      section("Reloads", reloadsOf(state)),
      ...undeclaredProxies(state.undeclared_proxies),
      ...droppedHeaders(state.dropped_headers),
    );
    panel.querySelector(".target")?.scrollIntoView({ block: "center" });
  });
}

function section(name, ...content) {
  return element("section", {}, element("h2", {}, name), content);
}

function stateOf({ digest, mode, loaded_at: loaded, source, successful }) {
  return element(
    "div",
    { className: "card" },
    facts([
      ["Digest", [code(digest ?? "–"), " ", copyButton(digest ?? "")]],
      ["Mode", badge(mode, mode === "observe" ? "warn" : "good")],
      ["Source", source && code(source)],
      ["Last reload", [when(loaded), " ", successful ? badge("taken over", "good") : badge("rejected", "bad")]],
    ]),
  );
}

function listed(name, lines = [], kind) {
  if (!lines.length) return [];
  return [
    section(
      name,
      element(
        "ul",
        { className: `card problems ${kind}` },
        lines.map((line) => element("li", {}, linked(line))),
      ),
    ),
  ];
}

// "policy.yaml:16:3: mode: is wrong": the place leads to the line below.
function linked(text) {
  const found = /^([^\s:]+):(\d+):\d+: /.exec(text);
  return found && !found[1].startsWith("environment")
    ? [link(found[0].slice(0, -2), "policy", { line: found[2] }), `: ${text.slice(found[0].length)}`]
    : text;
}

// --- another policy ---

function tryOut(state, { api, may }) {
  if (!may("operator")) return element("p", { className: "empty" }, "This takes a token of the role operator.");
  const result = element("div", { "aria-live": "polite" });
  const yaml = field({
    label: "Its YAML; here is the one in force, to change",
    name: "yaml",
    kind: "textarea",
    value: state.yaml,
    rows: 12,
    wrap: "off",
  });
  const judge = async ({ yaml: text }) => {
    result.replaceChildren(element("p", { className: "soft" }, "Checking…"));
    try {
      result.replaceChildren(...(await judged(api, text)));
    } catch (error) {
      result.replaceChildren();
      throw error;
    }
  };
  const text = yaml.querySelector("textarea");
  const file = element("input", {
    type: "file",
    accept: ".yaml,.yml",
    hidden: true,
    onchange: async () => (text.value = await file.files[0].text()),
  });
  const made = form({
    label: "Try another policy",
    fields: [yaml],
    submit: "Check, compare and replay",
    onSubmit: judge,
    extra: [
      button("Open a file", () => file.click()),
      file,
      button("Back to the one in force", () => (text.value = state.yaml)),
    ],
  });
  const hint = element(
    "p",
    { className: "hint" },
    "Nothing is changed: this says what would be, if it were in the place of the one in force. Environment variables of this process count in both.",
  );
  return element("div", { className: "card" }, hint, made, result);
}

async function judged(api, yaml) {
  const checked = await api.post("/api/policy/check", { yaml });
  if (!checked.ok)
    return [
      element("h3", {}, badge(counted(checked.problems.length, "problem"), "bad"), " It would be rejected"),
      problemsOf(checked.problems),
    ];
  const compared = await api.post("/api/policy/diff", { yaml });
  const replayed = await api.post("/api/policy/replay", { yaml });
  return [
    element("h3", {}, badge("fine", "good"), " It compiles; digest ", code(checked.digest.slice(0, 16))),
    checked.notes.length ? problemsOf(checked.notes) : "",
    ...changesOf(compared.changes),
    ...replayOf(replayed),
  ];
}

function problemsOf(problems) {
  return table({
    caption: "Problems",
    columns: [
      { title: "Line", cell: (each) => (each.line ? String(each.line) : "–"), className: "number" },
      { title: "Key", cell: (each) => code(each.path), className: "key" },
      { title: "What", cell: (each) => each.what },
      { title: "What to write", cell: (each) => each.instead },
    ],
    rows: problems,
  });
}

function changesOf(changes) {
  if (!changes.length) return [element("h3", {}, "No value changes in effect")];
  return [
    element("h3", {}, `${counted(changes.length, "value")} would change`),
    table({
      caption: "Values that would change",
      columns: [
        { title: "Key", cell: (each) => code(each.path), className: "key" },
        {
          title: "Now",
          cell: (each) =>
            each.before === null ? element("span", { className: "soft" }, "not there") : code(each.before),
        },
        {
          title: "Then",
          cell: (each) =>
            each.after === null ? element("span", { className: "soft" }, "not there") : code(each.after),
        },
      ],
      rows: changes,
    }),
  ];
}

function replayOf({ requests, refused_before: before, refused_after: after, more, less, since }) {
  if (!requests) return [element("h3", {}, "No recent request to replay")];
  const differences = [
    ["would be refused, and pass now", more, "bad"],
    ["would pass, and are refused now", less, "good"],
  ].filter(([, groups]) => groups.length);
  return [
    element(
      "h3",
      {},
      `Of the last ${count(requests)} requests (since `,
      when(since),
      `) ${count(after)} would be refused; now it is ${count(before)}`,
    ),
    ...(differences.length
      ? differences.flatMap(groupsOf)
      : [element("p", {}, "Each request would be decided as it is now.")]),
    element(
      "p",
      { className: "hint" },
      "Decided again: address, route, origin, rate limits, session, sizes of body and message. Not: hosts, bans, patterns, markup.",
    ),
  ];
}

function groupsOf([name, groups, kind]) {
  const total = groups.reduce((sum, group) => sum + group.count, 0);
  return [
    element("p", {}, badge(counted(total, "request"), kind), ` ${name}`),
    table({
      caption: `Requests that ${name}`,
      columns: [
        { title: "Requests", cell: (group) => count(group.count), className: "number" },
        { title: "Route", cell: (group) => group.route },
        { title: "Guard", cell: (group) => group.guard },
        { title: "Code", cell: (group) => code(group.code) },
        { title: "Network", cell: (group) => group.network },
        {
          title: "For example",
          cell: (group) => group.examples.map((id) => [link(id.slice(-8), "events", { id }), " "]),
        },
      ],
      rows: groups,
      most: 20,
    }),
  ];
}

// --- the one in force ---

function textOf({ yaml }, { parameters }) {
  const wanted = Number(parameters.get("line"));
  const lines = yaml
    .trimEnd()
    .split("\n")
    .map((text, index) => element("li", { className: index + 1 === wanted ? "target" : "" }, code(text || " ")));
  return element(
    "div",
    { className: "source", tabIndex: 0, role: "region", "aria-label": "The policy as it is written" },
    element("ol", {}, lines),
  );
}

function valuesOf({ api, attempt }) {
  const place = element("div");
  const search = field({ label: "Show keys, values and origins with", name: "values", kind: "search" });
  const only = field({ label: "Leave out defaults", name: "written", kind: "checkbox", value: false });
  const details = element(
    "details",
    {},
    element("summary", {}, "Show them"),
    element("div", { className: "bar" }, search, only),
    place,
  );
  let values = null;
  const draw = () => {
    const wanted = search.querySelector("input").value.trim().toLowerCase();
    const isWritten = only.querySelector("input").checked;
    const rows = values.filter(
      (each) =>
        `${each.path} ${each.value} ${each.origin}`.toLowerCase().includes(wanted) &&
        !(isWritten && each.origin === "default"),
    );
    place.replaceChildren(
      table({ caption: "Values in force", columns: VALUES, rows, most: MOST_VALUES, empty: "No value has that." }),
    );
  };
  details.ontoggle = () =>
    values === null &&
    attempt(async () => {
      values = (await api.get("/api/policy/values")).values;
      draw();
    });
  details.oninput = () => values && draw();
  return details;
}

const VALUES = [
  { title: "Key", cell: (each) => code(each.path) },
  { title: "Value", cell: (each) => code(each.value) },
  { title: "From", cell: (each) => originOf(each.origin) },
];

function originOf(origin) {
  const line = /:(\d+)$/.exec(origin);
  return line ? link(origin, "policy", { line: line[1] }) : element("span", { className: "soft" }, origin);
}

function reloadsOf({ reloads }) {
  return table({
    caption: "The latest policies that were tried",
    columns: [
      { title: "Time", cell: (each) => when(each.at) },
      { title: "Result", cell: (each) => (each.successful ? badge("taken over", "good") : badge("rejected", "bad")) },
      { title: "In force afterwards", cell: (each) => code(each.digest) },
      {
        title: "Problems",
        cell: (each) =>
          each.problems.length
            ? element(
                "ul",
                { className: "plain" },
                each.problems.slice(0, 5).map((line) => element("li", {}, line)),
              )
            : "none",
      },
    ],
    rows: reloads,
  });
}

function undeclaredProxies(peers) {
  if (!peers.length) return [];
  const hint =
    "They send forwarding headers and are not in clients.trusted_proxies: if they are proxies of yours, all their clients count as one.";
  const rows = peers.map((peer) => ({ peer }));
  return [
    section(
      "Peers that may be proxies",
      element("p", { className: "hint" }, hint),
      table({
        caption: "Peers that may be proxies",
        columns: [{ title: "Address", cell: ({ peer }) => code(peer) }],
        rows,
        isDense: true,
      }),
    ),
  ];
}

function droppedHeaders(counts) {
  const rows = Object.entries(counts);
  if (!rows.length) return [];
  const hint =
    "Clients may not send these: clients.trusted_proxies names the proxies that may, clients.pass_headers lets one through.";
  const columns = [
    { title: "Header", cell: ([name]) => code(name) },
    { title: "Times", cell: ([, times]) => count(times), className: "number" },
  ];
  return [
    section(
      "Request headers that were dropped",
      element("p", { className: "hint" }, hint),
      table({ caption: "Request headers that were dropped", columns, rows, isDense: true }),
    ),
  ];
}
