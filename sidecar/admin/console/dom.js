// Elements from values. Text is only ever text: nothing here parses HTML.

export const byId = (id) => document.getElementById(id);

// Makes an element: properties that it has are set, all others become attributes; lists of children are flattened.
export function element(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat(3).filter(isShown));
  return made;
}

function filled(made, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key in made && key !== "list")
      made[key] = value; // an input's `list` can only be read
    else made.setAttribute(key, value);
  }
  made.append(...children.flat(2).filter(isShown));
  return made;
}

const isShown = (child) => child !== undefined && child !== null && child !== false;

// Draws a part of the page anew; what had the focus there has it again, if it is still there.
export function keepingFocus(place, draw) {
  const had = place.contains(document.activeElement) ? document.activeElement : null;
  draw();
  if (!had || place.contains(had)) return;
  const same = [...place.querySelectorAll(had.tagName)].find((each) => each.textContent === had.textContent);
  same?.focus({ preventScroll: true });
}

export const code = (text) => element("code", {}, text);

export function button(text, onclick, properties = {}) {
  return element("button", { type: "button", onclick, ...properties }, text);
}

// A word with a colour: good, warn, bad, or plain.
export function badge(text, kind = "") {
  return element("span", { className: `badge ${kind}` }, text);
}

// A link to another view: link("Events", "events", {id: "abc"}).
export function link(text, view, parameters = {}, properties = {}) {
  return element("a", { href: hashOf(view, parameters), ...properties }, text);
}

export function hashOf(view, parameters = {}) {
  const filledIn = Object.entries(parameters).filter(
    ([, value]) => value !== "" && value !== undefined && value !== null,
  );
  const query = new URLSearchParams(filledIn).toString();
  return query ? `#/${view}?${query}` : `#/${view}`;
}
