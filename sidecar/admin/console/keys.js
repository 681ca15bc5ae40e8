// Keyboard: "/" looks for a request id, "g" and a letter open a view, "?" lists them, Escape closes the menu.
// They can be switched off, for people who speak to their computer (WCAG 2.1.4).

import { byId, element, hashOf } from "./dom.js";
import { dialog } from "./dialog.js";
import { field } from "./form.js";
import { VIEWS } from "./views.js";

const PAUSE = 1500; // milliseconds between "g" and the letter
let isOn = true;

const LETTERS = Object.fromEntries(Object.keys(VIEWS).reduce(withLetter, []));

// Each view gets the first letter of its name that no other has.
function withLetter(taken, name) {
  const letter = [...name].find((each) => !taken.some(([other]) => other === each));
  return letter ? [...taken, [letter, name]] : taken;
}

export function keys({ isSignedIn, close }) {
  let wentAt = 0;
  document.addEventListener("keydown", (pressed) => {
    if (pressed.key === "Escape") return close();
    if (!isOn || !isSignedIn() || pressed.ctrlKey || pressed.metaKey || pressed.altKey || isTyping(pressed.target))
      return;
    if (Date.now() - wentAt < PAUSE && Object.hasOwn(LETTERS, pressed.key)) {
      wentAt = 0;
      location.hash = hashOf(LETTERS[pressed.key]);
    } else if (pressed.key === "g") wentAt = Date.now();
    else if (pressed.key === "?") explain();
    else if (pressed.key === "/") byId("find-id").focus();
    else return;
    pressed.preventDefault();
  });
  byId("keys").onclick = explain;
}

function isTyping(target) {
  return target.closest("input:not([type=checkbox]), textarea, select, dialog") !== null;
}

function explain() {
  if (document.querySelector("dialog[open]")) return;
  const lines = [
    ["/", "look for a request id"],
    ...Object.entries(LETTERS).map(([letter, name]) => [`g ${letter}`, VIEWS[name].title]),
    ["?", "this list"],
  ];
  const off = field({ label: "Keyboard shortcuts are on", name: "keys", kind: "checkbox", value: isOn });
  off.querySelector("input").onchange = (changed) => (isOn = changed.target.checked);
  dialog({
    title: "Keyboard",
    body: (close) => [
      element(
        "dl",
        { className: "keys" },
        lines.map(([key, text]) =>
          element("div", {}, element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)),
        ),
      ),
      off,
      element(
        "div",
        { className: "actions" },
        element("button", { type: "button", className: "main", onclick: () => close() }, "Close"),
      ),
    ],
  });
}
