// Forms: labelled fields, one submit button, and a place for what went wrong.

import { element } from "./dom.js";

let numbered = 0;

// One labelled input. `kind` is an input type, "select" (with `options`: texts or [value, text]) or "textarea".
export function field({ label, name, kind = "text", options = [], hint = "", value = "", ...properties }) {
  const id = `field-${(numbered += 1)}`;
  const input = inputOf(kind, options, { id, name, ...properties });
  if (kind === "checkbox") input.checked = Boolean(value);
  else input.value = value;
  const described = hint ? element("small", { id: `${id}-hint`, className: "hint" }, hint) : null;
  if (described) input.setAttribute("aria-describedby", described.id);
  const parts = [element("label", { htmlFor: id }, label), input, described];
  return element("div", { className: `field ${kind}` }, kind === "checkbox" ? [input, parts[0], described] : parts);
}

function inputOf(kind, options, properties) {
  const plain = { autocomplete: "off", spellcheck: false, ...properties };
  if (kind === "textarea") return element("textarea", { rows: 8, ...plain });
  if (kind !== "select") return element("input", { type: kind, ...plain });
  const made = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return element(
    "select",
    plain,
    made.map(([value, text]) => element("option", { value }, text)),
  );
}

// A form of fields. `onSubmit` gets the values by name; while it runs the button waits, what it throws is shown in the form.
export function form({ label, fields, submit, onSubmit, className = "", extra = [] }) {
  const problem = element("p", { className: "problem", role: "alert" });
  const send = element("button", { type: "submit", className: "main" }, submit);
  const made = element(
    "form",
    { className, autocomplete: "off", "aria-label": label },
    fields,
    element("div", { className: "actions" }, send, extra),
    problem,
  );
  made.onsubmit = async (submitted) => {
    submitted.preventDefault();
    problem.textContent = "";
    send.disabled = true;
    try {
      await onSubmit(valuesOf(made));
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  };
  return made;
}

export function valuesOf(made) {
  const inputs = [...made.elements].filter((input) => input.name);
  return Object.fromEntries(
    inputs.map((input) => [input.name, input.type === "checkbox" ? input.checked : input.value]),
  );
}
