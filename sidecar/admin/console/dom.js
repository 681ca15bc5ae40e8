// Elements from values. Text is only ever text: nothing here parses HTML.

export const byId = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.map((child) => child ?? ""));
  return made;
}

export function table(caption, titles, rows) {
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element(
    "table",
    {},
    element("caption", { className: "hidden" }, caption),
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
}

export function when(iso) {
  if (!iso) return "never";
  const time = element("time", {}, new Date(iso).toLocaleString());
  time.dateTime = iso;
  return time;
}

export function span(text, className) {
  return element("span", { className: className ?? "" }, text);
}
