// The list of views, as the navigation shows them. Each is a module of `views/` that exports
//   title  what the navigation and the heading say
//   show   (panel, context) => fills the panel; called each time that the view is opened
//   needs  (optional) { role, all }: the role that it takes; `all`: a token of all organizations
// The context is described in `context.js`.

import * as audit from "./views/audit.js";
import * as bans from "./views/bans.js";
import * as budgets from "./views/budgets.js";
import * as costs from "./views/costs.js";
import * as credentials from "./views/credentials.js";
import * as events from "./views/events.js";
import * as explain from "./views/explain.js";
import * as handles from "./views/handles.js";
import * as limits from "./views/limits.js";
import * as overview from "./views/overview.js";
import * as policy from "./views/policy.js";
import * as sessions from "./views/sessions.js";
import * as suggestions from "./views/suggestions.js";

export const GROUPS = [
  ["Now", { overview, events }],
  ["Clients", { limits, bans, sessions }],
  ["Keys", { credentials, handles }],
  ["Spend", { budgets, costs }],
  ["Policy", { policy, explain, suggestions }],
  ["Record", { audit }],
];

export const VIEWS = Object.assign({}, ...GROUPS.map(([, views]) => views));
