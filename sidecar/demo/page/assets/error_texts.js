// Texts for errors, as people read them. Nothing in here touches the page.

import { CutShort, Refused, Unreachable } from "./transports.js";

const WORDS = {
  MESSAGE_TOO_LONG: ["That message is too long", "Please say it in fewer words; 1,000 characters fit."],
  MESSAGE_INVALID: ["The chat could not read that message", "Please change it and send it again."],
  BODY_TOO_LARGE: ["That is more than the chat takes at once", "Please send less."],
  INVALID_SESSION_ID: ["This conversation has ended", "Reload the page to begin a new one."],
  CORS_BLOCKED: ["This page may not use the chat", "Its address is not among those that the chat talks to."],
  CSRF_BLOCKED: ["This page may not use the chat", "The request came from another site."],
  IP_BLOCKED: ["The chat does not accept your network", "Please ask its operators."],
  CONTENT_BLOCKED: ["The chat does not accept that message", "Please put it in other words."],
  AUTH_FAILED: ["Please sign in again", "The chat does not know who you are any more."],
  CREDENTIAL_UNAVAILABLE: ["The chat is not set up completely", "Its key for the model is missing. Please tell its operators."],
  BACKEND_UNREACHABLE: ["The chat is not there at the moment", "Please try again in a little while."],
  BACKEND_BROKEN: ["The chat failed", "The fault is not yours. Please try again."],
  BACKEND_TIMEOUT: ["The chat took too long to answer", "Please try again."],
  OVERLOADED: ["The chat is very busy", "Please try again in a moment."],
  DRAINING: ["The chat is restarting", "Please try again in a moment."],
};

const BY_STATUS = [
  [413, WORDS.BODY_TOO_LARGE], [401, WORDS.AUTH_FAILED], [403, ["The chat refused that", "It does not allow this request."]],
  [502, WORDS.BACKEND_BROKEN], [503, WORDS.OVERLOADED], [504, WORDS.BACKEND_TIMEOUT],
];

/**
 * Return {title, text, wait, reference}; wait is in seconds, and 0 unless waiting helps.
 * `kept`: what was typed is in the field again, and the text says so.
 */
export function explainError(error, base = "", kept = false) {
  const words = errorText(error, base);
  return kept ? { ...words, text: `${words.text} Your message is still in the field.`.trim() } : words;
}

function errorText(error, base) {
  if (error instanceof Unreachable) return unreachable(error, base);
  if (error instanceof CutShort) return said("The answer broke off", "What has arrived stays above. Please ask again.");
  if (!(error instanceof Refused)) return said("Something went wrong in this page", "Reloading it may help.");
  const reference = error.requestId;
  if (error.status === 429) {
    const wait = secondsToWait(error.headers);
    return { ...said("Too many messages", wait ? "" : "Please wait a moment."), wait, reference };
  }
  const words = WORDS[error.code] ?? BY_STATUS.find(([status]) => status === error.status)?.[1]
    ?? (error.status >= 500 ? WORDS.BACKEND_BROKEN : ["The chat did not take that", "Please try it another way."]);
  return { ...said(...words), reference };
}

/** Return how long the headers of a 429 ask to wait: Retry-After, or the reset's date. */
export function secondsToWait(headers, now = Date.now()) {
  const seconds = Number.parseInt(headers.get("retry-after") ?? "", 10);
  if (seconds >= 0) return seconds;
  const reset = Date.parse(headers.get("x-ratelimit-reset") ?? "");
  return Number.isNaN(reset) ? 0 : Math.max(0, Math.ceil((reset - now) / 1000));
}

function unreachable(error, base) {
  if (!base) return said("The chat cannot be reached", "Either it is not running, or you are offline.");
  const why = error.refusedOrigin
    ? `The chat at ${base} is there, but does not talk to pages from ${location.origin}.`
    : `The chat at ${base} does not talk to pages from ${location.origin}, or it is not running.`;
  return said("This page may not use the chat", why);
}

function said(title, text) {
  return { title, text, wait: 0, reference: "" };
}
