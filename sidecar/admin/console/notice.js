// What the whole page says: a problem (stays until the next attempt), a short message (goes by itself).

import { byId, element } from "./dom.js";

const SHOWN = 5000;
const MOST = 3;

export function problem(text) {
  byId("problem").textContent = text;
}

// Said while what is shown may be out of date.
export function notRefreshed(text) {
  byId("stale").textContent = text && `Not up to date: ${text}`;
}

export function toast(text) {
  const place = byId("toasts");
  const made = element("p", {}, text);
  place.append(made);
  while (place.children.length > MOST) place.firstElementChild.remove();
  setTimeout(() => made.remove(), SHOWN);
}
