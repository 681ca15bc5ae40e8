// The audit log, newest first, a page at a time; and whether it is whole.

import { badge, button, code, element } from "../dom.js";
import { copyButton } from "../dialog.js";
import { field, form } from "../form.js";
import { ifKept } from "../permission.js";
import { table } from "../table.js";
import { when } from "../words.js";

export const title = "Audit";

const PAGE = 50;
const VERIFYING = 300_000; // milliseconds: 30,000 entries take a second

export async function show(panel, context) {
  const { api, attempt, isForAll, grant, parameters, keep } = context;
  const page = element("section", { "aria-live": "polite" });
  const verdict = element("section", { "aria-live": "polite" });
  const wanted = { organization: isForAll ? (parameters.get("organization") ?? "") : grant.organization };

  async function turn(before = 0) {
    const query = new URLSearchParams({ limit: PAGE });
    if (before) query.set("before", before);
    if (wanted.organization) query.set("organization", wanted.organization);
    const { entries } = await api.get(`/api/audit?${query}`);
    const last = entries.at(-1)?.seq;
    page.replaceChildren(
      tableOf(entries),
      element(
        "div",
        { className: "actions" },
        before ? button("Newest", () => attempt(() => turn())) : "",
        entries.length === PAGE && last > 1 ? button("Older", () => attempt(() => turn(last))) : "",
      ),
    );
  }

  const filter = form({
    label: "Filter the audit log",
    className: "lookup",
    fields: [
      field({
        label: "Organization",
        name: "organization",
        value: wanted.organization,
        placeholder: "all",
        maxLength: 128,
        readOnly: !isForAll,
      }),
    ],
    submit: "Show",
    onSubmit: async ({ organization }) => {
      wanted.organization = organization.trim();
      keep({ organization: wanted.organization });
      await turn();
    },
  });
  await attempt(() =>
    ifKept(panel, async () => {
      await turn();
      panel.replaceChildren(
        element("div", { className: "bar" }, isForAll ? filter : "", isForAll ? verifier(verdict, context) : ""),
        isForAll ? "" : element("p", { className: "hint" }, "Verifying the log takes a token for all organizations."),
        verdict,
        page,
      );
    }),
  );
}

function tableOf(entries) {
  return table({
    caption: "Audit log",
    columns: [
      { title: "No.", cell: (entry) => String(entry.seq), className: "number minor" },
      { title: "Time", cell: (entry) => when(entry.at) },
      { title: "Who", cell: (entry) => entry.actor, className: "name" },
      { title: "Action", cell: (entry) => code(entry.action), className: "name" },
      { title: "Outcome", cell: (entry) => badge(entry.outcome, entry.outcome === "done" ? "good" : "warn") },
      { title: "Organization", cell: (entry) => entry.organization || "–", className: "minor" },
      { title: "Subject", cell: (entry) => entry.subject || "–", className: "mono subject" },
      { title: "Detail", cell: detailOf, className: "mono minor" },
    ],
    rows: entries,
    empty: "No entry.",
  });
}

function detailOf({ detail }) {
  const lines = Object.entries(detail ?? {}).filter(([, value]) => value !== null && value !== "");
  return lines.length ? lines.map(([name, value]) => `${name}=${shownOf(name, value)}`).join(" ") : "–";
}

// Moments are whole seconds there.
const shownOf = (name, value) =>
  name.endsWith("_at") && Number.isInteger(value) ? new Date(value * 1000).toISOString().replace(".000Z", "Z") : value;

function verifier(verdict, { api }) {
  return form({
    label: "Verify the audit log",
    className: "lookup",
    fields: [
      field({
        label: "Anchor (optional)",
        name: "anchor",
        maxLength: 512,
        hint: "An end that an earlier run or the log printed: it proves that the database was not put back.",
      }),
    ],
    submit: "Verify",
    onSubmit: async ({ anchor }) => {
      verdict.replaceChildren(element("p", { className: "soft" }, "All of the log is read…"));
      try {
        const query = anchor.trim() ? `?${new URLSearchParams({ anchor: anchor.trim() })}` : "";
        verdict.replaceChildren(...verdictOf(await api.get(`/api/audit/verify${query}`, VERIFYING)));
      } catch (error) {
        verdict.replaceChildren();
        throw error;
      }
    },
  });
}

function verdictOf({ whole, entries, anchor, statements, faults }) {
  return [
    element(
      "div",
      { className: "card" },
      element("h2", {}, whole ? badge("Whole", "good") : badge("Not whole", "bad"), ` ${entries} entries`),
      element(
        "ul",
        { className: "statements" },
        statements.map(({ says, proven, why }) =>
          element(
            "li",
            {},
            badge(proven ? "proven" : "not proven", proven ? "good" : "warn"),
            ` ${says}${why ? ` (${why})` : ""}`,
          ),
        ),
      ),
      faults.length
        ? [
            element("h3", {}, "Faults"),
            element(
              "ul",
              { className: "bad" },
              faults.map((fault) => element("li", {}, fault)),
            ),
          ]
        : "",
      element("p", { className: "soft" }, "Anchor: keep it where the writer of the database cannot reach."),
      element("div", { className: "bar" }, code(anchor), copyButton(anchor)),
    ),
  ];
}
