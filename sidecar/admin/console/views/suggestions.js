// Routes for a backend that is not known, from what mode: observe has seen.

import { copyButton } from "../dialog.js";
import { badge, code, element } from "../dom.js";
import { table } from "../table.js";
import { count } from "../words.js";

export const title = "Suggestions";
export const needs = { all: true };

export async function show(panel, { api, attempt }) {
  await attempt(async () => {
    const { policy } = await api.get("/api/policy");
    if (policy.mode !== "observe" || !policy.suggestions) panel.append(howTo());
    else panel.append(...suggestionsOf(await api.get("/api/suggestions")));
  });
}

function howTo() {
  return element(
    "div",
    { className: "card" },
    element(
      "p",
      {},
      "Nothing is observed now. For a chat system that has no kind (",
      code("sidecar kinds"),
      "), let the sidecar look on for a minute:",
    ),
    element(
      "ol",
      {},
      element("li", {}, "Write ", code("mode: observe"), " and ", code("suggestions: true"), " into the policy."),
      element("li", {}, "Chat for a minute, with several different messages."),
      element("li", {}, "Open this page again: it shows the routes to write, and where the texts are."),
    ),
  );
}

function suggestionsOf({ routes, yaml, incomplete }) {
  return [
    incomplete ? element("p", {}, badge("not all", "warn"), " More was seen than is remembered.") : "",
    element("h2", {}, "To write into the policy"),
    element("div", { className: "actions" }, copyButton(yaml, "Copy the YAML")),
    element("pre", { tabIndex: 0, role: "region", "aria-label": "Suggested routes" }, yaml),
    element("h2", {}, "What it rests on"),
    table({
      caption: "Operations with texts",
      columns: [
        { title: "Method", cell: (route) => route.method },
        { title: "Path", cell: (route) => code(route.path) },
        { title: "Requests", cell: (route) => count(route.requests), className: "number" },
        {
          title: "Texts at",
          cell: (route) =>
            route.places.map((place) => [code(place.path), place.sure ? "" : [" ", badge("unsure", "warn")], " "]),
        },
        { title: "Answers stream as", cell: (route) => route.streams.join(", ") || "–" },
      ],
      rows: routes,
      empty: "No text was seen yet.",
    }),
  ];
}
