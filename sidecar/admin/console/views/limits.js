// Rate limits: what they are, how full the windows of one subject are, and emptying them.

import { badge, button, element } from "../dom.js";
import { change } from "../dialog.js";
import { lookup, pathOf } from "../lookup.js";
import { meter } from "../meter.js";
import { reason } from "../permission.js";
import { table } from "../table.js";
import { count, duration, fromNow } from "../words.js";

export const title = "Limits";

const TYPES = ["ip", "organization", "session", "user", "route", "global"];

export async function show(panel, context) {
  const { api, attempt } = context;
  const result = element("section", { "aria-live": "polite" });
  await attempt(async () => {
    const state = await api.get("/api/rate-limit/status");
    const form = lookup({
      types: TYPES,
      context,
      label: "Look up windows",
      show: (type, key) => shown(result, context, type, key),
    });
    panel.replaceChildren(
      form.node,
      result,
      element("h2", {}, "Limits of the policy"),
      element(
        "p",
        { className: "soft" },
        "Stores: ",
        Object.entries(state.stores).map(([name, up]) => [`${name} `, badge(up, up === "up" ? "good" : "bad"), " "]),
      ),
      table({
        caption: "Rate limits",
        columns: [
          { title: "Name", cell: (limit) => limit.name },
          { title: "Per", cell: (limit) => limit.per },
          { title: "Limit", cell: (limit) => count(limit.limit), className: "number" },
          { title: "Window", cell: (limit) => duration(limit.window), className: "number" },
        ],
        rows: state.limits,
        empty: "The policy has no rate limits.",
      }),
    );
    form.start();
  });
}

async function shown(result, context, type, key) {
  const { api, may, now } = context;
  const found = await api.get(`/api/rate-limit/admin/status/${pathOf(type, key)}`);
  const subject = `${type} ${found.key}`;
  const reset = () =>
    change({
      title: "Empty these windows?",
      text: `All that ${subject} has used of its limits is forgotten, on every replica: it may send that much again at once.`,
      action: "Empty the windows",
      isDangerous: true,
      work: async () => {
        const done = await api.post("/api/rate-limit/reset", { type, key: found.key });
        await shown(result, context, type, key);
        context.toast(done.reset ? `The windows of ${subject} are empty.` : `Nothing was counted for ${subject}.`);
      },
    });
  result.replaceChildren(
    element("h2", {}, `Windows of ${subject}`),
    table({
      caption: `Windows of ${subject}`,
      columns: [
        { title: "Limit", cell: (limit) => limit.name },
        {
          title: "Used",
          cell: (limit) => meter({ label: `Used of ${limit.name}`, used: limit.used, limit: limit.limit, show: count }),
        },
        { title: "Left", cell: (limit) => count(limit.remaining), className: "number" },
        { title: "Window", cell: (limit) => duration(limit.window), className: "number" },
        {
          title: "Next request",
          cell: (limit) =>
            limit.allowed ? badge("passes", "good") : badge(`in ${duration(limit.retry_after)}`, "bad"),
        },
        { title: "Empty", cell: (limit) => (limit.used ? fromNow(limit.reset, now()) : "is empty") },
      ],
      rows: found.limits,
      empty: `The policy has no limit per ${type}.`,
    }),
    found.limits.length && may("operator")
      ? element("div", { className: "actions" }, button("Empty the windows", reset, { className: "danger" }))
      : "",
    found.limits.length ? (reason(context, "operator", "Emptying windows") ?? "") : "",
  );
}
