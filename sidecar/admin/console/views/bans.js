import { button } from "../dom.js";
import { table } from "../table.js";
import { when } from "../words.js";

export const title = "Bans";
export const needs = { all: true };

export async function show(panel, context) {
  const { api, attempt, may } = context;
  const lift = (ban) =>
    attempt(async () => {
      await api.remove(`/api/bans/${encodeURIComponent(ban.ip)}`);
      context.toast(`The ban of ${ban.ip} is lifted.`);
      await show(panel, context);
    });
  await attempt(async () => {
    const { bans } = await api.get("/api/bans");
    panel.replaceChildren(
      table({
        caption: "Bans",
        columns: [
          { title: "Address", cell: (ban) => ban.ip, className: "mono" },
          { title: "Until", cell: (ban) => when(ban.until) },
          { title: "Reason", cell: (ban) => ban.reason },
          { title: "Strikes", cell: (ban) => String(ban.strikes), className: "number" },
          ...(may("operator")
            ? [{ title: "Action", cell: (ban) => button("Lift", () => lift(ban), { "aria-label": `Lift the ban of ${ban.ip}` }) }]
            : []),
        ],
        rows: bans,
        empty: "No address is banned.",
      }),
    );
  });
}
