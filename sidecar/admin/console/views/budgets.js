// Budgets: what they are, how they stand for one subject, and forgetting what was used.

import { badge, button, element } from "../dom.js";
import { change } from "../dialog.js";
import { lookup, pathOf } from "../lookup.js";
import { meter } from "../meter.js";
import { reason } from "../permission.js";
import { table } from "../table.js";
import { count, dollars, duration, fromNow } from "../words.js";

export const title = "Budgets";

const TYPES = ["organization", "session", "user", "ip", "credential"];
const ENDS = {
  stop: "requests are refused, streams end",
  finish: "requests are refused, streams go on",
  warn: "it is recorded",
};

const amount = (budget) => (budget.unit === "USD" ? dollars : (value) => `${count(value)}`);

export async function show(panel, context) {
  const { api, attempt } = context;
  const result = element("section", { "aria-live": "polite" });
  await attempt(async () => {
    const { budgets } = await api.get("/api/budgets");
    if (!budgets.length) {
      panel.replaceChildren(
        element(
          "p",
          { className: "empty" },
          "The policy has no budgets. They hold tokens or dollars for each organization, session, user, address or key.",
        ),
      );
      return;
    }
    const types = TYPES.filter((type) => budgets.some((budget) => budget.per === type));
    const form = lookup({
      types,
      context,
      label: "Look up budgets",
      show: (type, key) => shown(result, context, type, key),
    });
    panel.replaceChildren(
      form.node,
      result,
      element("h2", {}, "Budgets of the policy"),
      table({
        caption: "Budgets",
        columns: [
          { title: "Name", cell: (budget) => budget.name },
          { title: "Per", cell: (budget) => budget.per },
          {
            title: "Limit",
            cell: (budget) => `${amount(budget)(budget.limit)}${budget.unit === "USD" ? "" : " tokens"}`,
            className: "number",
          },
          { title: "Window", cell: (budget) => duration(budget.window), className: "number" },
          { title: "Counts", cell: (budget) => (budget.unit === "USD" ? "money" : budget.counts) },
          { title: "At its end", cell: (budget) => ENDS[budget.on_end] },
        ],
        rows: budgets,
      }),
    );
    form.start();
  });
}

async function shown(result, context, type, key) {
  const { api, may, now } = context;
  const found = await api.get(`/api/budgets/${pathOf(type, key)}`);
  const subject = `${type} ${found.key}`;
  const reset = (budget) =>
    change({
      title: `Forget what was used of ${budget.name}?`,
      text: `${subject} may use all of it again at once, on every replica. What running requests hold is forgotten too.`,
      action: "Forget what was used",
      isDangerous: true,
      work: async () => {
        await api.post("/api/budgets/reset", { type, key: found.key, name: budget.name });
        await shown(result, context, type, key);
        context.toast(`${budget.name} is whole again for ${subject}.`);
      },
    });
  result.replaceChildren(
    element("h2", {}, `Budgets of ${subject}`),
    table({
      caption: `Budgets of ${subject}`,
      columns: [
        { title: "Budget", cell: (budget) => budget.name },
        {
          title: "Used",
          cell: (budget) =>
            meter({
              label: `Used of ${budget.name}`,
              used: budget.used,
              held: budget.reserved,
              limit: budget.limit,
              show: amount(budget),
            }),
        },
        {
          title: "Left",
          cell: (budget) => (budget.remaining > 0 ? amount(budget)(budget.remaining) : badge("nothing", "bad")),
          className: "number",
        },
        { title: "Window", cell: (budget) => duration(budget.window), className: "number" },
        { title: "Whole again", cell: (budget) => (budget.used ? fromNow(budget.reset, now()) : "is whole") },
        ...(may("operator")
          ? [
              {
                title: "Action",
                cell: (budget) =>
                  button("Reset", () => reset(budget), { className: "danger", "aria-label": `Reset ${budget.name}` }),
              },
            ]
          : []),
      ],
      rows: found.budgets,
      empty: `The policy has no budget per ${type}.`,
    }),
    found.budgets.length ? (reason(context, "operator", "Resetting a budget") ?? "") : "",
  );
}
