// A request that is only thought of: what each guard would decide, in order. Nothing is sent, nothing is counted.

import { badge, code, element, link } from "../dom.js";
import { field, form } from "../form.js";
import { facts, table } from "../table.js";
import { counted } from "../words.js";

export const title = "Explain";
export const needs = { all: true };

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];
const KINDS = { pass: "good", answer: "good", change: "", observe: "warn", refuse: "bad" };
const SAID = { pass: "It would pass", answer: "It would be answered here", refuse: "It would be refused" };

export function show(panel, context) {
  const { parameters, api } = context;
  const given = (name, otherwise) => parameters.get(name) ?? otherwise;
  const result = element("div", { "aria-live": "polite" });
  const ask = async ({ method, path, ip, headers, body }) => {
    context.keep({ method, path, ip });
    result.replaceChildren();
    result.append(
      ...answerOf(
        await api.post("/api/explain", {
          method,
          path,
          ip: ip || "127.0.0.1",
          headers: pairsOf(headers),
          ...(body ? { body } : {}),
        }),
      ),
    );
  };
  const asked = form({
    label: "A request",
    className: "card ask",
    fields: [
      field({ label: "Method", name: "method", kind: "select", options: METHODS, value: given("method", "POST") }),
      field({
        label: "Path",
        name: "path",
        value: given("path", "/api/chat"),
        required: true,
        maxLength: 8192,
        className: "mono",
      }),
      field({
        label: "Client's address",
        name: "ip",
        value: given("ip", ""),
        placeholder: "127.0.0.1",
        maxLength: 64,
        className: "mono",
      }),
      field({
        label: "Headers",
        name: "headers",
        kind: "textarea",
        rows: 4,
        hint: "One a line: Name: value",
        value: given("headers", "Content-Type: application/json\n"),
      }),
      field({ label: "Body", name: "body", kind: "textarea", rows: 4, hint: "Its text is not recorded.", value: "" }),
    ],
    submit: "Explain",
    onSubmit: ask,
  });
  panel.append(
    element(
      "p",
      { className: "hint" },
      "Nothing is sent and nothing is counted; windows, bans and sessions are looked at as they are.",
    ),
    asked,
    result,
  );
}

function pairsOf(text) {
  const lines = text.split("\n").filter((line) => line.trim());
  return lines.map((line) => {
    const at = line.indexOf(":");
    if (at < 1) throw new Error(`“${line}” is no header line: write Name: value`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
}

function answerOf({ decision, route, policy, steps, not_asked: unasked, backend, limits, notes }) {
  const last = steps.at(-1);
  return [
    element(
      "h2",
      {},
      badge(SAID[decision] ?? decision, KINDS[decision]),
      decision === "refuse" && [
        " by ",
        last.guard,
        last.status ? `: ${last.status} ` : " ",
        last.code && code(last.code),
      ],
    ),
    element(
      "div",
      { className: "card" },
      facts([
        ["Route", route.name ? [route.name, " ", placeOf(route.place)] : "none"],
        ["Policy", [code(policy.digest), ` ${policy.mode}`]],
        ["Backend would get", backend && code(JSON.stringify(backend))],
        ["Not asked any more", unasked.join(", ")],
        ["Note", notes.join("; ")],
      ]),
    ),
    element("h2", {}, counted(steps.length, "guard")),
    table({
      caption: "Decisions of the guards, in order",
      columns: [
        { title: "Guard", cell: (step) => step.guard, className: "name" },
        { title: "Decision", cell: (step) => badge(step.decision, KINDS[step.decision]) },
        { title: "Key", cell: (step) => step.key && code(step.key), className: "key" },
        { title: "Where", cell: (step) => placeOf(step.place) },
        {
          title: "Detail",
          cell: (step) =>
            step.detail &&
            code(
              Object.entries(step.detail)
                .map(([name, value]) => `${name}=${value}`)
                .join(" "),
            ),
        },
      ],
      rows: steps,
    }),
    ...limitsOf(limits),
  ];
}

function placeOf(place) {
  const line = /:(\d+)$/.exec(place ?? "");
  return line ? link(place, "policy", { line: line[1] }) : place && element("span", { className: "soft" }, place);
}

function limitsOf(limits) {
  if (!limits.length) return [];
  const columns = Object.keys(limits[0]).map((name) => ({
    title: name[0].toUpperCase() + name.slice(1),
    cell: (limit) => String(limit[name] ?? "–"),
  }));
  return [
    element("h2", {}, "Rate limits that would count it"),
    table({ caption: "Rate limits", columns, rows: limits }),
  ];
}
