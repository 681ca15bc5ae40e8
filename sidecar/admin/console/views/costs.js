// What models have cost: a chart by day, a table by organization.

import { DAYS, barChart, share } from "../chart.js";
import { element, link } from "../dom.js";
import { field } from "../form.js";
import { facts, table } from "../table.js";
import { count, dollars } from "../words.js";

export const title = "Costs";

const SPANS = [
  ["7", "7 days"],
  ["14", "14 days"],
  ["31", "31 days"],
];
const OTHERS = "others";

export async function show(panel, { api, attempt, parameters, keep }) {
  const place = element("section", { "aria-live": "polite" });
  const wanted = SPANS.some(([value]) => value === parameters.get("days")) ? parameters.get("days") : "31";
  const span = field({ label: "Of the last", name: "days", kind: "select", options: SPANS, value: wanted });
  const draw = (days) => attempt(async () => place.replaceChildren(...shown(await api.get(`/api/costs?days=${days}`))));
  span.querySelector("select").onchange = ({ target }) => {
    keep({ days: target.value });
    draw(target.value);
  };
  panel.append(element("div", { className: "bar" }, span), place);
  await draw(wanted);
}

function shown({ since, days, entries, total, kept }) {
  const chart = barChart({
    title: "Cost a day",
    unit: "",
    show: dollars,
    steps: DAYS,
    parts: [{ name: "cost", className: "passed", value: (day) => day.cost_usd }],
  });
  const byDay = Map.groupBy(entries, (entry) => entry.day);
  chart.draw(daysFrom(since, days).map((day) => ({ day, ...summed(byDay.get(day) ?? []) })));
  const rows = [...Map.groupBy(entries, (entry) => entry.organization)]
    .map(([organization, each]) => ({ organization, ...summed(each) }))
    .sort((one, other) => other.cost_usd - one.cost_usd || other.requests - one.requests);
  const most = Math.max(...rows.map((row) => row.cost_usd), 0);
  return [
    facts([
      ["Cost", dollars(total.cost_usd)],
      ["Requests", count(total.requests)],
      ["Tokens", `${count(total.input_tokens)} in, ${count(total.output_tokens)} out`],
      [
        "Without a price",
        total.unpriced_tokens
          ? `${count(total.unpriced_tokens)} tokens, which are in no cost: name their models in prices`
          : "",
      ],
    ]),
    kept === "memory"
      ? element("p", { className: "hint" }, "There is no vault: these are the costs of this process since its start.")
      : "",
    chart.node,
    element("h2", {}, "By organization"),
    table({
      caption: "Costs by organization",
      columns: [
        { title: "Organization", cell: nameOf, className: "name" },
        { title: "Cost", cell: (row) => dollars(row.cost_usd), className: "number" },
        { title: "Share", cell: (row) => share(row.cost_usd, most, "passed"), className: "shares minor" },
        { title: "Requests", cell: (row) => count(row.requests), className: "number" },
        { title: "Tokens in", cell: (row) => count(row.input_tokens), className: "number minor" },
        { title: "Tokens out", cell: (row) => count(row.output_tokens), className: "number minor" },
      ],
      rows,
      isDense: true,
      empty: "No request has used a model whose tokens are known.",
    }),
  ];
}

const nameOf = ({ organization }) =>
  organization
    ? link(organization, "budgets", { type: "organization", key: organization }, { title: "Its budgets" })
    : OTHERS;

function summed(entries) {
  const sum = { cost_usd: 0, requests: 0, input_tokens: 0, output_tokens: 0 };
  for (const entry of entries) for (const name of Object.keys(sum)) sum[name] += entry[name];
  return sum;
}

function daysFrom(since, days) {
  const first = Date.parse(`${since}T00:00:00Z`);
  return Array.from({ length: days }, (_, index) => new Date(first + index * 86_400_000).toISOString().slice(0, 10));
}
