// What a token may not do, or a deployment does not keep, is said once, in place of the buttons.

import { element } from "./dom.js";

// A sentence when the role is missing: reason(context, "operator", "Lifting a ban").
export function reason({ may, grant }, role, what) {
  return may(role)
    ? null
    : element("p", { className: "hint" }, `${what} takes a token of the role ${role}; yours is ${grant.role}.`);
}

// Runs what fills a panel; without a vault it says so.
export async function ifKept(panel, work) {
  try {
    await work();
  } catch (error) {
    if (error.status !== 404) throw error;
    const hint = "It has no vault: set ENCRYPTION_KEY and start it again.";
    panel.replaceChildren(element("p", { className: "empty" }, `${error.message}. ${hint}`));
  }
}
