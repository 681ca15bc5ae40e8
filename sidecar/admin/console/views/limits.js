import { badge, element } from "../dom.js";
import { table } from "../table.js";

export const title = "Limits";

export async function show(panel, { api, attempt }) {
  await attempt(async () => {
    const state = await api.get("/api/rate-limit/status");
    panel.append(
      element("p", {}, Object.entries(state.stores).map(([name, up]) => [`${name} `, badge(up, up === "up" ? "good" : "bad"), " "])),
      table({
        caption: "Rate limits",
        columns: [
          { title: "Name", cell: (limit) => limit.name },
          { title: "Per", cell: (limit) => limit.per },
          { title: "Limit", cell: (limit) => String(limit.limit), className: "number" },
          { title: "Window", cell: (limit) => `${limit.window} s`, className: "number" },
        ],
        rows: state.limits,
        empty: "The policy has no rate limits.",
      }),
    );
  });
}
