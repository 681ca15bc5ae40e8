// The line at the top: which policy is live, and whether a newer one was rejected.

import { contextOf } from "./context.js";
import { badge, byId, code, element, link } from "./dom.js";
import { duration } from "./words.js";

const EVERY = 30;
const ENDING = 600; // seconds before a token's end in which it is said

// Keeps the line current until the returned function is called.
export function frameState(session, onSignedOut) {
  const { context, end } = contextOf({ ...session, name: "", parameters: new URLSearchParams(), onSignedOut });
  context.every(EVERY, async () => {
    const state = await context.api.get("/api/policy?only=state");
    const left = (new Date(session.grant.expires) - context.now()) / 1000;
    if (!context.signal.aborted) byId("state").replaceChildren(...shown(state, left));
  });
  return end;
}

function shown({ digest, mode, successful }, left) {
  return [
    left < ENDING && badge(`signed in for ${duration(left)}`, "warn"),
    element("span", { className: "wide" }, "policy "),
    code((digest ?? "").slice(0, 8)),
    badge(mode ?? "", mode === "observe" ? "warn" : "wide"),
    successful === false && link("newer policy rejected", "policy", {}, { className: "badge bad" }),
  ].filter(Boolean);
}
