// How much of something is used, as a bar and in words.

import { element } from "./dom.js";

// `used` of `limit`; `held` is kept for what runs. `show` writes an amount.
export function meter({ label, used, held = 0, limit, show }) {
  const bar = element("meter", {
    min: 0,
    max: limit,
    value: Math.min(limit, used + held),
    high: limit * 0.8,
    low: limit * 0.5,
    optimum: 0,
    "aria-label": label,
  });
  const kept = held ? ` + ${show(held)} reserved` : "";
  return element("div", { className: "used" }, bar, element("span", {}, `${show(used)}${kept} of ${show(limit)}`));
}
