// Looking up what one subject has used: a form whose answer stays in the address, so that it can be shared.

import { element } from "./dom.js";
import { field, form } from "./form.js";

const HINTS = {
  ip: "An address; one of IPv6 stands for its /64.",
  organization: "As tokens, headers or hosts name it.",
  session:
    "The 8 characters that logs show, or the whole id, which is not kept. ip:ADDRESS: requests without a session.",
  user: "The subject of the user's token.",
  credential: "organization/provider, and /name where the policy names one.",
  route: "The name of a route of the policy.",
  global: "All requests together.",
};

const EVERYONE = "all";

// Makes the form. `types` can be looked up; `show(type, key)` is called with what the stores count under. `start` looks up
// what the address names, or the token's own organization.
export function lookup({ types, context, label, show }) {
  const { parameters, keep, grant, isForAll } = context;
  const offered = isForAll ? types : types.filter((type) => type === "organization");
  const type = field({
    label: "Of",
    name: "type",
    kind: "select",
    options: offered,
    value: offered.includes(parameters.get("type")) ? parameters.get("type") : offered[0],
  });
  const own = isForAll ? (parameters.get("key") ?? "") : grant.organization;
  const key = field({
    label: "Name",
    name: "key",
    required: true,
    maxLength: 512,
    value: own,
    readOnly: !isForAll,
    hint: HINTS[offered[0]],
  });
  const input = key.querySelector("input");
  const select = type.querySelector("select");
  const explain = () => {
    key.querySelector("small").textContent = HINTS[select.value] ?? "";
    if (!isForAll) return;
    input.readOnly = select.value === "global";
    if (input.readOnly || input.value === EVERYONE) input.value = input.readOnly ? EVERYONE : "";
  };
  select.onchange = explain;
  explain();
  const made = form({
    label,
    className: "lookup",
    fields: [type, key],
    submit: "Look up",
    onSubmit: async (values) => {
      const name = await keyOf(values, context);
      input.value = name;
      keep({ type: values.type, key: name });
      await show(values.type, name);
    },
  });
  // A form sends only once it is in the page.
  const start = () => input.value && made.requestSubmit();
  return { node: element("div", { className: "bar" }, made), start };
}

// The path of a subject: both parts may hold any character.
export const pathOf = (type, key) => `${encodeURIComponent(type)}/${encodeURIComponent(key)}`;

// A session is named by its key: its id does not belong into an address.
async function keyOf({ type, key }, { api }) {
  const text = key.trim();
  if (type !== "session" || text.startsWith("ip:") || /^[0-9a-f]{64}$/.test(text)) return text;
  const { sessions } = await api.post("/api/sessions/find", { session: text });
  if (!sessions.length) throw new Error("There is no such session.");
  if (sessions.length > 1) throw new Error("More than one session begins with these characters.");
  return sessions[0].key;
}
