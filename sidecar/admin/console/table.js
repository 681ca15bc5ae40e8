// A table: one caption, a bound of rows, and on a phone one block for each row.

import { element } from "./dom.js";

const MOST = 500;

// columns: [{ title, cell: (row) => text or node, className }]; classes: number, mono, name (is not broken), minor (not on
// a phone). `empty` is shown when there are no rows. `isDense`: few and narrow columns, a table on a phone too.
export function table({ caption, columns, rows, empty = "Nothing here.", most = MOST, isDense = false }) {
  if (!rows.length) return element("p", { className: "empty" }, empty);
  const body = rows.slice(0, most).map((row) => tableRow(columns, row));
  const made = element(
    "table",
    { className: isDense ? "dense" : "cards", role: "table" }, // roles are written out: blocks of a phone would lose them
    element("caption", { className: "hidden" }, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, columns.map(headOf))),
    element("tbody", { role: "rowgroup" }, body),
  );
  if (rows.length <= most) return made;
  return element(
    "div",
    {},
    made,
    element("p", { className: "hint" }, `The first ${most} of ${rows.length} are shown.`),
  );
}

function headOf({ title, className }) {
  return element("th", { scope: "col", role: "columnheader", className: (className ?? "").replace("mono", "") }, title);
}

export function tableRow(columns, row) {
  const cells = columns.map(({ title, cell, className }) =>
    element(
      "td",
      { role: "cell", className: className ?? "", "data-title": title },
      element("div", {}, orDash(cell(row))),
    ),
  );
  return element("tr", { role: "row" }, cells);
}

const orDash = (content) => (content === undefined || content === null || content === "" ? "–" : content);

// Names and values, one pair a line: [["Digest", code(…)], …]. Empty values are left out.
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return element(
    "dl",
    { className: "facts" },
    shown.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}
