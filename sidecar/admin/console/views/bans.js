// Bans: which are in force and why, adding one, lifting one.

import { button, element, link } from "../dom.js";
import { change } from "../dialog.js";
import { field } from "../form.js";
import { reason } from "../permission.js";
import { table } from "../table.js";
import { fromNow, when } from "../words.js";

export const title = "Bans";
export const needs = { all: true };

const LENGTHS = [
  ["900", "15 minutes"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
  ["604800", "7 days"],
  ["2592000", "30 days"],
];

export async function show(panel, context) {
  const { api, attempt, may } = context;
  const refresh = () => show(panel, context);
  await attempt(async () => {
    const { bans, count } = await api.get("/api/bans");
    panel.replaceChildren(
      may("operator")
        ? element(
            "div",
            { className: "bar" },
            button("Ban an address", () => add(context, refresh), { className: "main" }),
          )
        : "",
      reason(context, "operator", "Adding and lifting bans") ?? "",
      table({
        caption: "Bans",
        columns: [
          {
            title: "Address",
            cell: (ban) => link(ban.ip, "limits", { type: "ip", key: ban.ip }, { title: "Its windows" }),
            className: "mono",
          },
          {
            title: "Ends",
            cell: (ban) => [when(ban.until), element("div", { className: "soft" }, fromNow(ban.until))],
          },
          { title: "Why", cell: whyOf },
          {
            title: "Last requests",
            cell: (ban) =>
              ban.requests.length
                ? element(
                    "div",
                    { className: "ids" },
                    ban.requests.toReversed().map((id) => link(id, "events", { id }, { className: "mono" })),
                  )
                : null,
          },
          ...(may("operator")
            ? [
                {
                  title: "Action",
                  cell: (ban) =>
                    button("Lift", () => lift(ban, context, refresh), { "aria-label": `Lift the ban of ${ban.ip}` }),
                },
              ]
            : []),
        ],
        rows: bans,
        empty: "No address is banned.",
      }),
      count > bans.length
        ? element("p", { className: "hint" }, `${count} addresses are banned; those whose bans end first are shown.`)
        : "",
    );
  });
}

function whyOf({ reason: text, strikes, kinds }) {
  if (!strikes) return text;
  const lines = Object.entries(kinds).map(([kind, times]) => element("li", {}, `${kind} × ${times}`));
  return [`${strikes} strikes`, lines.length ? element("ul", { className: "kinds" }, lines) : null];
}

function add({ api, toast }, refresh) {
  return change({
    title: "Ban an address",
    text: "Its requests are refused on every replica, and what runs for it ends.",
    action: "Ban it",
    fields: [
      field({
        label: "Address",
        name: "ip",
        required: true,
        maxLength: 64,
        placeholder: "203.0.113.9",
        hint: "One of IPv6 stands for its /64.",
        className: "mono",
      }),
      field({ label: "For", name: "seconds", kind: "select", options: LENGTHS, value: "3600" }),
      field({
        label: "Reason",
        name: "reason",
        required: true,
        maxLength: 200,
        hint: "Others read it here and in the audit log.",
      }),
    ],
    work: async ({ ip, seconds, reason: why }) => {
      const made = await api.post("/api/bans", { ip: ip.trim(), seconds: Number(seconds), reason: why });
      await refresh();
      toast(`${made.ip} is banned.`);
    },
  });
}

function lift(ban, { api, toast }, refresh) {
  return change({
    title: "Lift this ban?",
    text: `${ban.ip} may send requests again at once, on every replica. Its strikes are forgotten.`,
    action: "Lift the ban",
    isDangerous: true,
    work: async () => {
      await api.remove(`/api/bans/${encodeURIComponent(ban.ip)}`);
      await refresh();
      toast(`The ban of ${ban.ip} is lifted.`);
    },
  });
}
