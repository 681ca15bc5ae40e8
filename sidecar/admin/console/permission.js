// What a token may not do is said once, in place of the buttons.

import { element } from "./dom.js";

// A sentence when the role is missing: reason(context, "operator", "Lifting a ban").
export function reason({ may, grant }, role, what) {
  return may(role)
    ? null
    : element("p", { className: "hint" }, `${what} takes a token of the role ${role}; yours is ${grant.role}.`);
}
