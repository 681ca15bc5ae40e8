// Credentials: keys of providers go in, are rotated, tested and deleted, and never come out.

import { badge, button, code, element } from "../dom.js";
import { change } from "../dialog.js";
import { field } from "../form.js";
import { ifKept, reason } from "../permission.js";
import { table } from "../table.js";
import { when } from "../words.js";

export const title = "Credentials";

const KINDS = { active: "good", expired: "bad", undecryptable: "bad" };
const DAY = 86_400_000;
const SOON = 7;

export async function show(panel, context) {
  const { api, attempt, may, isForAll, parameters, keep, now } = context;
  await attempt(() =>
    ifKept(panel, async () => {
      const { credentials } = await api.get("/api/api-credentials");
      const refresh = () => show(panel, context);
      const organizations = [...new Set(credentials.map((each) => each.organization))].sort();
      const wanted = organizations.includes(parameters.get("organization")) ? parameters.get("organization") : "";
      const place = element("div");
      const draw = (organization) =>
        place.replaceChildren(
          tableOf(
            credentials.filter((each) => !organization || each.organization === organization),
            context,
            refresh,
          ),
        );
      const filter = field({
        label: "Organization",
        name: "organization",
        kind: "select",
        options: [["", "all"], ...organizations],
        value: wanted,
      });
      filter.querySelector("select").onchange = ({ target }) => {
        parameters.set("organization", target.value);
        keep({ organization: target.value });
        draw(target.value);
      };
      draw(wanted);
      panel.replaceChildren(
        element(
          "div",
          { className: "bar" },
          isForAll && organizations.length > 1 ? filter : "",
          may("admin")
            ? button("Add a credential", () => attempt(() => add(context, refresh)), { className: "main" })
            : "",
        ),
        reason(context, "admin", "Adding and changing credentials") ?? "",
        place,
      );
    }),
  );

  function tableOf(rows, ofView, refresh) {
    return table({
      caption: "Credentials",
      columns: [
        { title: "Organization", cell: (each) => each.organization, className: "name" },
        { title: "Provider", cell: (each) => each.provider, className: "name" },
        { title: "Name", cell: (each) => each.name, className: "name" },
        { title: "State", cell: (each) => badge(each.state, KINDS[each.state]) },
        {
          title: "Key",
          cell: (each) => [code(`…${each.last_four}`), element("div", { className: "soft" }, code(each.fingerprint))],
          className: "name",
        },
        { title: "Hosts", cell: (each) => each.hosts.map((host) => element("div", { className: "mono" }, host)) },
        { title: "Expires", cell: (each) => expiryOf(each, now()) },
        { title: "Changed", cell: (each) => when(each.rotated_at ?? each.updated_at), className: "minor" },
        ...(may("admin") ? [{ title: "Actions", cell: (each) => actionsOf(each, ofView, refresh) }] : []),
      ],
      rows,
      empty: "No credential is stored.",
    });
  }
}

function expiryOf({ expires_at: expires }, now) {
  if (!expires) return "never";
  const days = (new Date(expires) - now) / DAY;
  const left =
    days < 0
      ? badge("over", "bad")
      : badge(days < 1 ? "less than a day left" : `${Math.floor(days)} days left`, days < SOON ? "warn" : "");
  return [when(expires), element("div", {}, left)];
}

const nameOf = ({ provider, organization, name, last_four: last }) =>
  `${provider} of ${organization} (${name}, …${last})`;

function actionsOf(each, context, refresh) {
  const of = (action) => ({ "aria-label": `${action} ${each.provider} of ${each.organization} (${each.name})` });
  return element(
    "div",
    { className: "buttons" },
    button("Rotate", () => rotate(each, context, refresh), of("Rotate")),
    button("Test", () => test(each, context), of("Test")),
    button("Edit", () => edit(each, context, refresh), of("Edit")),
    button("Delete", () => remove(each, context, refresh), { ...of("Delete"), className: "danger" }),
  );
}

// The key goes from the field to the sidecar; the field is emptied whatever happens.
function keyField(label = "Key") {
  const made = field({
    label,
    name: "value",
    kind: "password",
    required: true,
    maxLength: 16_384,
    autocomplete: "new-password",
    hint: "It is sealed at once, and never shown again.",
  });
  return {
    node: made,
    take: () => {
      const input = made.querySelector("input");
      const { value } = input;
      input.value = "";
      return value;
    },
  };
}

const hostsOf = (text) => text.split(/[\s,]+/).filter(Boolean);
const hostsField = (value, hint) => field({ label: "Hosts", name: "hosts", kind: "textarea", rows: 2, value, hint });
const expiryField = (iso, hint = "The day on which it stops working, at 0:00 UTC; empty: never.") =>
  field({ label: "Expires", name: "expires", kind: "date", value: iso ? iso.slice(0, 10) : "", hint });
const endOf = (day) => (day ? `${day}T00:00:00Z` : null);

async function add({ api, toast, isForAll, grant }, refresh) {
  const { providers } = await api.get("/api/providers");
  const hosts = Object.fromEntries(providers.map((each) => [each.name, each.hosts.join(" ")]));
  const key = keyField();
  const provider = field({
    label: "Provider",
    name: "provider",
    kind: "select",
    options: providers.map(({ name }) => name),
  });
  const where = hostsField("", "Where it may be sent; empty: the provider's own.");
  const select = provider.querySelector("select");
  const suggest = () =>
    (where.querySelector("textarea").placeholder = hosts[select.value] || "a host of this customer");
  select.onchange = suggest;
  suggest();
  await change({
    title: "Add a credential",
    action: "Seal and store it",
    fields: [
      field({
        label: "Organization",
        name: "organization",
        required: true,
        maxLength: 128,
        value: isForAll ? "" : grant.organization,
        readOnly: !isForAll,
      }),
      provider,
      key.node,
      field({
        label: "Name",
        name: "name",
        maxLength: 64,
        placeholder: "default",
        hint: "When there are several of this provider.",
      }),
      where,
      expiryField(null),
      field({ label: "Ask the provider first, and store nothing if it says no", name: "test", kind: "checkbox" }),
    ],
    work: async ({ organization, provider: of, name, hosts: text, expires, test: isTested }) => {
      const wanted = {
        organization: organization.trim(),
        provider: of,
        value: key.take(),
        ...(hostsOf(text).length ? { hosts: hostsOf(text) } : {}),
      };
      if (isTested) {
        const { valid, message } = await api.post("/api/api-credentials/test", wanted);
        if (!valid) throw new Error(message);
      }
      const made = await api.post("/api/api-credentials", {
        ...wanted,
        ...(name.trim() ? { name: name.trim() } : {}),
        ...(expires ? { expires_at: endOf(expires) } : {}),
      });
      await refresh();
      toast(`${nameOf(made)} is stored.`);
    },
  });
}

function rotate(each, { api, toast }, refresh) {
  const key = keyField("New key");
  return change({
    title: "Rotate this key",
    text: `${nameOf(each)}: the old key is used until the new one is stored, then not. Answers that began with it go on.`,
    action: "Rotate",
    fields: [
      key.node,
      field({
        label: "Ask the provider first, and keep the old key if it says no",
        name: "test",
        kind: "checkbox",
        value: false,
      }),
      expiryField(each.expires_at),
    ],
    work: async ({ test: isTested, expires }) => {
      const value = key.take();
      const path = `/api/api-credentials/${encodeURIComponent(each.id)}`;
      const isChanged = expires !== (each.expires_at ?? "").slice(0, 10);
      await api.post(`${path}/rotate`, {
        value,
        ...(isTested ? { test: true } : {}),
        ...(isChanged && expires ? { expires_at: endOf(expires) } : {}),
      });
      if (isChanged && !expires) await api.put(path, { expires_at: null });
      await refresh();
      toast(`The key of ${each.provider} of ${each.organization} is rotated.`);
    },
  });
}

function test(each, { api, toast }) {
  return change({
    title: "Test this key",
    text: `The sidecar sends ${nameOf(each)} to its provider with a request that costs nothing; before it a made-up key, so that a host that takes any key is found out.`,
    action: "Ask the provider",
    work: async () => {
      const verdict = await api.post("/api/api-credentials/test", { id: each.id });
      if (!verdict.valid) throw new Error(verdict.message);
      toast(verdict.message);
    },
  });
}

function edit(each, { api, toast }, refresh) {
  return change({
    title: "Edit this credential",
    text: nameOf(each),
    action: "Save",
    fields: [
      field({ label: "Name", name: "name", required: true, maxLength: 64, value: each.name }),
      hostsField(each.hosts.join("\n"), "Where it may be sent, one a line."),
      expiryField(each.expires_at),
    ],
    work: async ({ name, hosts, expires }) => {
      const changed = {};
      if (name.trim() !== each.name) changed.name = name.trim();
      if (hostsOf(hosts).join() !== each.hosts.join()) changed.hosts = hostsOf(hosts);
      if (expires !== (each.expires_at ?? "").slice(0, 10)) changed.expires_at = endOf(expires);
      if (!Object.keys(changed).length) throw new Error("Nothing was changed.");
      await api.put(`/api/api-credentials/${encodeURIComponent(each.id)}`, changed);
      await refresh();
      toast(`${each.provider} of ${each.organization} is changed.`);
    },
  });
}

function remove(each, { api, toast }, refresh) {
  return change({
    title: "Delete this key?",
    text: `${nameOf(each)}: requests get it no more, and answers that run with it end. It cannot be brought back.`,
    action: "Delete the key",
    isDangerous: true,
    work: async () => {
      await api.remove(`/api/api-credentials/${encodeURIComponent(each.id)}`);
      await refresh();
      toast(`The key of ${each.provider} of ${each.organization} is deleted.`);
    },
  });
}
