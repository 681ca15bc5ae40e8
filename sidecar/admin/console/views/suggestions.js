import { element } from "../dom.js";

export const title = "Suggestions";
export const needs = { all: true };

export async function show(panel, { api, attempt }) {
  await attempt(async () => {
    try {
      const found = await api.get("/api/suggestions");
      panel.append(element("pre", { tabIndex: 0, "aria-label": "Suggested routes" }, found.yaml));
    } catch (error) {
      if (error.status !== 404) throw error;
      panel.append(element("p", { className: "empty" }, "Nothing is observed: write mode: observe into the policy, then chat for a minute."));
    }
  });
}
