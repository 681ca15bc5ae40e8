// Small charts over the minutes of an hour or over days, as SVG: a name and a summary for screen readers, the numbers as a
// table below.

import { element, svg } from "./dom.js";
import { timeOfDay } from "./words.js";

const HEIGHT = 100; // units of the drawing; it is stretched to its place

// What one place on the axis is: its name, how it is written, the words for all of them and for one, the end of the axis.
const MINUTES = {
  name: "Minute",
  label: (minute) => timeOfMinute(minute),
  all: "in the hour",
  one: "a minute",
  last: "now",
};
export const DAYS = { name: "Day", label: ({ day }) => dayOf(day), all: "in all", one: "a day", last: "today" };

// Bars of several parts, one on the other. `parts`: [{ name, className, value: (minute) => number }].
export function barChart({ title, parts, unit, show, steps = MINUTES }) {
  const chart = frame({ title, parts, show, unit, steps });
  chart.draw = (minutes) => {
    const totals = minutes.map((minute) => parts.reduce((sum, part) => sum + part.value(minute), 0));
    const top = roundUp(Math.max(...totals));
    const bars = minutes.map((minute, index) => barOf(minute, index, parts, top));
    chart.put(
      minutes,
      bars,
      top,
      `${show(totals.reduce((sum, each) => sum + each, 0))} ${unit} ${steps.all}, at most ${show(Math.max(...totals))} ${steps.one}.`,
    );
  };
  return chart;
}

// One line for each part; minutes without a value are gaps.
export function lineChart({ title, parts, unit, show }) {
  const chart = frame({ title, parts, show, unit, steps: MINUTES });
  chart.draw = (minutes) => {
    const known = parts.flatMap(({ value }) => minutes.map(value)).filter((each) => each !== null);
    const top = roundUp(Math.max(...known, 0));
    const lines = parts.map(({ value, className }) => lineOf(minutes.map(value), className, top));
    chart.put(minutes, lines, top, known.length ? `At most ${show(Math.max(...known))}.` : "Nothing was measured.");
  };
  return chart;
}

// Dots, so that a minute between two gaps is seen, and what joins them.
function lineOf(values, className, top) {
  const dots = values.map(
    (each, index) =>
      each !== null &&
      svg("line", { class: `dot ${className}`, x1: index + 0.5, x2: index + 0.5, y1: y(each, top), y2: y(each, top) }),
  );
  const lines = runs(values).map((run) =>
    svg("polyline", {
      class: `line ${className}`,
      points: run.map(([index, each]) => `${index + 0.5},${y(each, top)}`).join(" "),
    }),
  );
  return [...lines, ...dots];
}

function frame({ title, parts, show, unit, steps }) {
  const plot = element("div", { className: "plot" });
  const most = element("span", { className: "most" });
  const from = element("span");
  const table = element("tbody");
  const legend =
    parts.length > 1 &&
    element(
      "span",
      { className: "legend" },
      parts.map((part) => element("span", { className: `swatch ${part.className}` }, part.name)),
    );
  const head = element("tr", {}, [
    element("th", { scope: "col" }, steps.name),
    ...parts.map((part) => element("th", { scope: "col", className: "number" }, part.name)),
  ]);
  const node = element(
    "figure",
    { className: "card chart" },
    element("figcaption", {}, element("h2", {}, title)),
    element("div", { className: "area" }, most, plot),
    element("p", { className: "axis" }, from, legend, element("span", {}, steps.last)),
    element(
      "details",
      {},
      element("summary", {}, "As a table"),
      element(
        "div",
        { className: "scroll", tabIndex: 0, role: "region", "aria-label": `${title}, as a table` },
        element("table", {}, element("caption", { className: "hidden" }, title), element("thead", {}, head), table),
      ),
    ),
  );
  const put = (minutes, shapes, top, summary) => {
    const hovers = minutes.map((minute, index) =>
      svg(
        "rect",
        { class: "hover", x: index, y: 0, width: 1, height: HEIGHT },
        svg("title", {}, said(steps.label(minute), minute, parts, show)),
      ),
    );
    const drawing = {
      viewBox: `0 0 ${minutes.length} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `${title}. ${summary}`,
    };
    plot.replaceChildren(
      svg(
        "svg",
        drawing,
        svg("line", { class: "grid", x1: 0, x2: minutes.length, y1: HEIGHT / 2, y2: HEIGHT / 2 }),
        shapes,
        hovers,
      ),
    );
    most.textContent = `${show(top)}${unit ? ` ${unit}` : ""}`;
    from.textContent = steps.label(minutes[0]);
    table.replaceChildren(...minutes.toReversed().map((minute) => rowOf(steps.label(minute), minute, parts, show)));
  };
  return { node, put };
}

function barOf(minute, index, parts, top) {
  let below = 0;
  return parts.map(({ value, className }) => {
    const height = (value(minute) / top) * HEIGHT;
    below += height;
    return (
      height > 0 && svg("rect", { class: `bar ${className}`, x: index + 0.1, y: HEIGHT - below, width: 0.8, height })
    );
  });
}

// The stretches of minutes that have a value, as [index, value].
function runs(values) {
  const found = [[]];
  values.forEach((value, index) => {
    if (value === null) found.push([]);
    else found.at(-1).push([index, value]);
  });
  return found.filter((run) => run.length > 1);
}

const y = (value, top) => HEIGHT - (value / top) * (HEIGHT - 3);

const timeOfMinute = (minute) => timeOfDay(new Date(minute.at)).slice(0, 5);

// "Jan 31" of "2026-01-31": days are those of UTC.
const dayOf = (day) =>
  new Date(`${day}T00:00:00Z`).toLocaleDateString([], { month: "short", day: "numeric", timeZone: "UTC" });

function said(label, minute, parts, show) {
  return [label, ...parts.map((part) => `${part.name} ${shownOf(part.value(minute), show)}`)].join("\n");
}

function rowOf(label, minute, parts, show) {
  const cells = parts.map((part) => element("td", { className: "number" }, shownOf(part.value(minute), show)));
  return element("tr", {}, element("th", { scope: "row" }, label), cells);
}

const shownOf = (value, show) => (value === null ? "–" : show(value));

// A round number above: the top of the scale.
function roundUp(number) {
  if (!(number > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= number * 0.999);
}

// A bar within a table's cell: `part` of `whole`.
export function share(part, whole, className = "refused") {
  const width = whole > 0 ? (part / whole) * 100 : 0;
  return svg(
    "svg",
    { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: `bar ${className}`, x: 0, y: 0, width, height: 8 }),
  );
}
