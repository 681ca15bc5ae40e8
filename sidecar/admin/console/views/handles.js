// Handles: phantom keys that backends use in place of real ones.

import { badge, button, code, element } from "../dom.js";
import { change, reveal } from "../dialog.js";
import { field } from "../form.js";
import { ifKept, reason } from "../permission.js";
import { table } from "../table.js";
import { fromNow, when } from "../words.js";

export const title = "Handles";

const LENGTHS = [
  ["86400", "1 day"],
  ["604800", "7 days"],
  ["2592000", "30 days"],
  ["7776000", "90 days"],
  ["31536000", "365 days"],
];

export async function show(panel, context) {
  const { api, attempt, may, now } = context;
  const refresh = () => show(panel, context);
  await attempt(() =>
    ifKept(panel, async () => {
      const { handles } = await api.get("/api/handles");
      const isLiving = (each) => !each.revoked_at && new Date(each.expires_at) > now();
      panel.replaceChildren(
        may("admin")
          ? element(
              "div",
              { className: "bar" },
              button("Make a handle", () => make(context, refresh), { className: "main" }),
            )
          : "",
        reason(context, "admin", "Making and revoking handles") ?? "",
        table({
          caption: "Handles",
          columns: [
            { title: "Id", cell: (each) => code(each.id), className: "name" },
            { title: "Organization", cell: (each) => each.organization, className: "name" },
            { title: "Provider", cell: (each) => each.provider, className: "name" },
            { title: "Name", cell: (each) => each.name || "–" },
            { title: "State", cell: (each) => stateOf(each, now()) },
            { title: "Made", cell: (each) => when(each.created_at) },
            { title: "Ends", cell: (each) => fromNow(each.expires_at) },
            ...(may("admin")
              ? [
                  {
                    title: "Action",
                    cell: (each) =>
                      isLiving(each)
                        ? button("Revoke", () => revoke(each, context, refresh), {
                            className: "danger",
                            "aria-label": `Revoke ${each.id}`,
                          })
                        : null,
                  },
                ]
              : []),
          ],
          rows: handles,
          empty: "No handle is stored. A backend sends one to the egress listener in place of a provider's key.",
        }),
      );
    }),
  );
}

function stateOf({ revoked_at: revoked, expires_at: expires }, now) {
  if (revoked) return badge("revoked", "bad");
  return new Date(expires) > now ? badge("good", "good") : badge("expired", "warn");
}

async function make({ api, isForAll, grant }, refresh) {
  const { providers } = await api.get("/api/providers");
  let made;
  const done = await change({
    title: "Make a handle",
    text: "A backend sends it where the key would be. It is worth nothing anywhere but at the egress listener.",
    action: "Make it",
    fields: [
      field({
        label: "Organization",
        name: "organization",
        required: true,
        maxLength: 128,
        value: isForAll ? "" : grant.organization,
        readOnly: !isForAll,
      }),
      field({ label: "Provider", name: "provider", kind: "select", options: providers.map(({ name }) => name) }),
      field({ label: "Name", name: "name", maxLength: 64, hint: "Of the backend that gets it, for example." }),
      field({ label: "Good for", name: "seconds", kind: "select", options: LENGTHS, value: "2592000" }),
    ],
    work: async ({ organization, provider, name, seconds }) => {
      made = await api.post("/api/handles", {
        organization: organization.trim(),
        provider,
        seconds: Number(seconds),
        ...(name.trim() ? { name: name.trim() } : {}),
      });
      await refresh();
    },
  });
  if (done)
    await reveal({
      title: "The new handle",
      text: `It is shown this once: only its hash is stored. It belongs to ${made.organization} and ${made.provider}.`,
      value: made.handle,
    });
}

function revoke(handle, { api, toast }, refresh) {
  return change({
    title: "Revoke this handle?",
    text: `${handle.id}${handle.name ? ` (${handle.name})` : ""} of ${handle.organization}: provider calls with it are refused from now on, and those that run end.`,
    action: "Revoke it",
    isDangerous: true,
    work: async () => {
      await api.remove(`/api/handles/${encodeURIComponent(handle.id)}`);
      await refresh();
      toast(`${handle.id} is revoked.`);
    },
  });
}
