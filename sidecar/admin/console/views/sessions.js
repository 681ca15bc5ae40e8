// Sessions: how many there are, finding one, ending one or all of an organization.

import { button, element, link } from "../dom.js";
import { change } from "../dialog.js";
import { field, form } from "../form.js";
import { reason } from "../permission.js";
import { facts, table } from "../table.js";
import { count, fromNow, when } from "../words.js";

export const title = "Sessions";

const LISTED = 100; // organizations that the count names

export async function show(panel, context) {
  const { api, attempt } = context;
  const result = element("section", { "aria-live": "polite" });
  const counts = element("section");
  const refresh = async () => counts.replaceChildren(...counted(await api.get("/api/sessions"), context, refresh));
  await attempt(async () => {
    await refresh();
    panel.replaceChildren(
      finder(result, context, refresh),
      result,
      counts,
      reason(context, "operator", "Ending sessions") ?? "",
    );
  });
}

function finder(result, context, refresh) {
  const session = field({
    label: "Session",
    name: "session",
    required: true,
    maxLength: 4096,
    hint: "The 8 characters that logs show, or the whole id. An id goes to the sidecar alone and is not kept.",
  });
  const made = form({
    label: "Find a session",
    className: "lookup",
    fields: [session],
    submit: "Find",
    onSubmit: async (values) => {
      const text = values.session.trim();
      if (!/^[0-9a-f]{8}$/.test(text)) session.querySelector("input").value = "";
      await found(result, text, context, refresh);
    },
  });
  return element("div", { className: "bar" }, made);
}

const sessionOf = ({ session, key }) =>
  link(session, "limits", { type: "session", key }, { title: "Its windows", className: "mono" });

const clientOf = ({ client }) =>
  client ? link(client, "limits", { type: "ip", key: client }, { title: "Its windows" }) : "sealed";

async function found(result, text, context, refresh) {
  const { api, may } = context;
  const { sessions, complete } = await api.post("/api/sessions/find", { session: text });
  result.replaceChildren(
    element("h2", {}, "Found"),
    table({
      caption: "Sessions that were found",
      columns: [
        { title: "Session", cell: sessionOf },
        { title: "Organization", cell: (each) => each.organization ?? "not known" },
        { title: "Client", cell: clientOf, className: "mono" },
        { title: "Last seen", cell: (each) => when(each.seen) },
        { title: "Ends", cell: (each) => fromNow(each.until) },
        ...(may("operator")
          ? [
              {
                title: "Action",
                cell: (each) =>
                  button("End", () => endOne(each), {
                    className: "danger",
                    "aria-label": `End session ${each.session}`,
                  }),
              },
            ]
          : []),
      ],
      rows: sessions,
      empty: complete
        ? "There is no such session: it may have ended."
        : "Not found among the sessions that were looked at. Name its whole id or key.",
    }),
    sessions.length && !complete ? element("p", { className: "hint" }, "There may be others that begin so.") : "",
  );

  function endOne(each) {
    return change({
      title: `End session ${each.session}?`,
      text: "Its page has to begin a new one. Answers, sockets and provider calls that run for it end.",
      action: "End the session",
      isDangerous: true,
      work: async () => {
        const done = await api.post("/api/sessions/end", { session: each.key });
        result.replaceChildren(element("p", { className: "empty" }, `Session ${each.session} has ended.`));
        await refresh();
        context.toast(
          `Session ${each.session} has ended.${done.handles_revoked ? "" : " Its handles could not be revoked."}`,
        );
      },
    });
  }
}

function counted({ count: total, organizations }, context, refresh) {
  const { may, isForAll, grant } = context;
  const rows = Object.entries(organizations).map(([organization, sessions]) => ({ organization, sessions }));
  const endAll = (organization, fields = []) => change(ofAll(organization, fields, context, refresh));
  const shown = facts([[isForAll ? "Sessions" : `Sessions of ${grant.organization}`, count(total)]]);
  const endOther = () =>
    endAll("", [field({ label: "Organization", name: "organization", required: true, maxLength: 128 })]);
  return [
    element("h2", {}, "All sessions"),
    shown,
    table({
      caption: "Sessions by organization",
      columns: [
        { title: "Organization", cell: (row) => row.organization },
        { title: "Sessions", cell: (row) => count(row.sessions), className: "number" },
        ...(may("operator")
          ? [
              {
                title: "Action",
                cell: (row) =>
                  button("End all", () => endAll(row.organization), {
                    className: "danger",
                    "aria-label": `End all sessions of ${row.organization}`,
                  }),
              },
            ]
          : []),
      ],
      rows,
      empty: "There are no sessions.",
    }),
    rows.length === LISTED && may("operator")
      ? element(
          "div",
          { className: "actions" },
          button("End all of another organization…", endOther, { className: "danger" }),
        )
      : "",
  ];
}

function ofAll(organization, fields, { api, toast }, refresh) {
  return {
    title: organization ? `End all sessions of ${organization}?` : "End all sessions of an organization?",
    text: "All of its pages have to begin new ones. What runs for the sessions ends; its keys and handles stay.",
    action: "End all sessions",
    isDangerous: true,
    fields,
    work: async (values) => {
      const name = organization || values.organization.trim();
      let ended = 0;
      for (let more = true; more;) {
        const done = await api.post("/api/sessions/end", { organization: name });
        ended += done.ended;
        more = done.more;
      }
      await refresh();
      toast(`${count(ended)} sessions of ${name} have ended.`);
    },
  };
}
