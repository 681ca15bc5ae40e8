// The line at the top: which policy is live, and whether a newer one was rejected.

import { contextOf } from "./context.js";
import { badge, byId, code, element, link } from "./dom.js";

const EVERY = 30;

// Keeps the line current until the returned function is called.
export function frameState(session, onSignedOut) {
  const { context, end } = contextOf({ ...session, name: "", parameters: new URLSearchParams(), onSignedOut });
  context.every(EVERY, async () => {
    const state = await context.api.get("/api/policy");
    if (!context.signal.aborted) byId("state").replaceChildren(...shown(state));
  });
  return end;
}

function shown({ digest, mode, successful }) {
  return [
    element("span", { className: "wide" }, "policy "),
    code((digest ?? "").slice(0, 8)),
    badge(mode ?? "", mode === "observe" ? "warn" : "wide"),
    successful === false && link("newer policy rejected", "policy", {}, { className: "badge bad" }),
  ].filter(Boolean);
}
