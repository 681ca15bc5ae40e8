// Dialogs, on the browser's own element: it keeps the focus inside, and Escape closes it.

import { button, byId, element } from "./dom.js";
import { form } from "./form.js";

let numbered = 0;

// Opens a dialog; resolves when it is closed. `body` may call `close(result)`, which it gets.
export function dialog({ title, body, className = "" }) {
  const id = `dialog-${(numbered += 1)}`;
  const made = element("dialog", { className, "aria-labelledby": id });
  const opener = document.activeElement;
  let result;
  const close = (value) => {
    result = value;
    made.close();
  };
  made.append(element("h2", { id }, title), ...[body(close)].flat());
  document.body.append(made);
  made.showModal();
  return new Promise((resolve) => {
    made.onclose = () => {
      made.remove();
      if (document.activeElement === document.body) successorOf(opener).focus();
      resolve(result);
    };
  });
}

// A view that was drawn anew has another button of the same name in the place of the one that opened a dialog.
function successorOf(opener) {
  const name = (each) => each.getAttribute("aria-label") ?? each.textContent;
  return (
    [...byId("panel").querySelectorAll(opener.tagName)].find((each) => name(each) === name(opener)) ?? byId("title")
  );
}

// Asks before something is done; resolves to true or false.
export async function confirm({ title, text, action, isDangerous = false }) {
  const answer = await dialog({
    title,
    body: (close) => [
      element("p", {}, text),
      element(
        "div",
        { className: "actions" },
        button(action, () => close(true), { className: isDangerous ? "danger" : "main" }),
        button("Cancel", () => close(false), { autofocus: true }),
      ),
    ],
  });
  return answer === true;
}

// Asks before `work` is done, and does it. What it throws is shown in the dialog, which stays open; resolves to whether
// it was done. `fields` may ask for more: their values are given to `work`.
export async function change({ title, text, action, work, fields = [], isDangerous = false }) {
  const done = await dialog({
    title,
    body: (close) => {
      const cancel = button("Cancel", () => close(false), isDangerous ? { autofocus: true } : {});
      const onSubmit = async (values) => {
        await work(values);
        close(true);
      };
      const made = form({ label: action, fields, submit: action, extra: [cancel], onSubmit });
      if (isDangerous) made.querySelector("button[type=submit]").className = "danger";
      return [text && element("p", {}, text), made].filter(Boolean);
    },
  });
  return done === true;
}

// Shows something once, such as a new key: it must be closed by its button.
export function reveal({ title, text, value }) {
  const shown = element("input", { readOnly: true, value, className: "mono", "aria-label": title, spellcheck: false });
  shown.onfocus = () => shown.select();
  return dialog({
    title,
    body: (close) => [
      element("p", {}, text),
      shown,
      element(
        "div",
        { className: "actions" },
        copyButton(value),
        button("Close", () => close(), { className: "main" }),
      ),
    ],
  });
}

export function copyButton(text, label = "Copy") {
  const made = button(label, async () => {
    try {
      await navigator.clipboard.writeText(text);
      made.textContent = "Copied";
    } catch {
      made.textContent = "Not allowed to copy"; // the clipboard needs https or localhost
    }
    setTimeout(() => (made.textContent = label), 2000);
  });
  return made;
}
