// The page: what is typed goes out, what comes in is shown.

import { explainError } from "./error_texts.js";
import { ask, transportsTo } from "./transports.js";

const $ = id => document.getElementById(id);
const naive = location.pathname === "/naive";
const base = otherChat();
const transports = transportsTo(base);
const session = sessionId();
const KEPT_BUBBLES = 200;
let running = null;
let countdown = 0;

// The one difference between the two views. The naive one is an example of what not to do, to
// show that what passed the sidecar is harmless even then.
const put = naive ? (node, text) => { node.innerHTML = text; } : (node, text) => { node.textContent = text; };

const TRIES = {
  script: () => say('<script>alert("xss")</script>'),
  image: () => say(`<img src=x onerror="document.title='owned'"> is what I typed`),
  long: () => say("parrot ".repeat(143)),
  flood,
  key: askPaidModel,
  error: async () => { await ask(base, "/error"); },
};

$("form").addEventListener("submit", event => {
  event.preventDefault();
  const text = $("message").value;
  if (text.trim()) attempt(() => say(text));
});
$("message").addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!running) $("form").requestSubmit();
});
$("stop").addEventListener("click", () => running?.abort());
for (const button of document.querySelectorAll("[data-try]")) {
  button.addEventListener("click", () => attempt(TRIES[button.dataset.try]));
}
introduce();

async function attempt(action) {
  if (running) return;
  running = new AbortController();
  busy(true);
  notice(null);
  try {
    await action();
  } catch (error) {
    if (error.name !== "AbortError") notice(explainError(error, base, $("message").value !== ""));
  } finally {
    running = null;
    busy(false);
    $("message").focus();
  }
}

async function say(text) {
  const mine = bubble("You", "me", text);
  const field = $("message");
  if (field.value === text) field.value = "";
  let theirs = null;
  try {
    let reply = "", changed = false;
    for await (const event of transports[$("transport").value](text, session, running.signal)) {
      if (event.kind === "open") {
        changed = wasChanged(event.headers);
        showLeft(event.headers);
      } else if (event.kind === "start") {
        if (changed || event.message !== text) explainChange(mine, event.message);
        if (naive) put(mine.querySelector(".text"), event.message);
        theirs = bubble("Parrot", "parrot waiting", "");
      } else if (event.kind === "word") {
        reply += event.text;
        show(theirs, reply);
      } else if (event.kind === "done") {
        show(theirs, event.reply);
      }
    }
  } catch (error) {
    if (!theirs) {
      mine.remove();
      if (!field.value) field.value = text;   // nothing that was typed is lost
    }
    throw error;
  } finally {
    theirs?.classList.remove("waiting");
  }
}

async function flood() {
  const asks = Array.from({ length: 70 }, (_, number) =>
    drain(transports.json(`message ${number + 1} of 70`, session, running.signal)).then(() => null, error => error));
  const errors = (await Promise.all(asks)).filter(Boolean);
  const refused = errors.filter(error => error.status === 429);
  bubble("Page", "parrot", `Of 70 messages sent at once, ${70 - errors.length} were answered and ${refused.length} refused.`, true);
  if (errors.length) throw refused[0] ?? errors[0];
}

async function drain(events) {
  for await (const event of events) if (event.kind === "open") showLeft(event.headers);
}

async function askPaidModel() {
  const response = await ask(base, "/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "parrot-1", messages: [{ role: "user", content: "Who paid for this answer?" }] }),
    signal: running.signal,
  });
  showLeft(response.headers);
  const answer = await response.json();
  bubble("Paid model", "parrot", answer.choices[0].message.content);
}

function bubble(who, kind, text, asText = false) {
  const article = document.createElement("article");
  article.className = `bubble ${kind}`;
  const name = document.createElement("h2");
  name.className = "who";
  name.textContent = who;
  const body = document.createElement("p");
  body.className = "text";
  // What the user typed is text in both views; what comes back is put in with innerHTML by the naive one.
  if (asText || kind === "me") body.textContent = text; else put(body, text);
  article.append(name, body);
  $("log").append(article);
  while ($("log").childElementCount > KEPT_BUBBLES) $("log").firstElementChild.remove();
  article.scrollIntoView({ block: "end" });
  return article;
}

function show(article, text) {
  put(article.querySelector(".text"), text);
  article.scrollIntoView({ block: "end" });
}

function wasChanged(headers) {
  const value = headers.get("x-sidecar-sanitized");
  return value !== null && value !== "" && value !== "0" && value !== "false";
}

function explainChange(article, arrived) {
  const note = document.createElement("p");
  note.className = "changed";
  note.textContent = `Made harmless on its way. The chat received: ${arrived}`;
  article.append(note);
}

function showLeft(headers) {
  const limit = Number(headers.get("x-ratelimit-limit") ?? NaN);
  const left = Number(headers.get("x-ratelimit-remaining") ?? NaN);
  if (!(limit > 0) || !(left >= 0)) return;
  $("left").hidden = false;
  $("left-meter").max = limit;
  $("left-meter").low = limit / 5;
  $("left-meter").value = left;
  $("left-text").textContent = `${left} of ${limit} left`;
}

function notice(words) {
  clearInterval(countdown);
  $("notice").replaceChildren();
  if (!words) return;
  const title = document.createElement("h2");
  title.textContent = words.title;
  const text = document.createElement("p");
  text.textContent = words.text;
  text.hidden = words.text === "";
  $("notice").append(title, text);
  if (words.wait) countDown(words.wait);
  if (words.reference) {
    const reference = document.createElement("p");
    reference.className = "small";
    reference.textContent = `Reference for the operators of the chat: ${words.reference}`;
    $("notice").append(reference);
  }
  $("log").lastElementChild.scrollIntoView({ block: "end" });
}

function countDown(seconds) {
  const until = Date.now() + seconds * 1000;
  const clock = document.createElement("p");
  clock.id = "countdown";
  clock.setAttribute("role", "timer");   // a timer is not read out every second
  $("notice").append(clock);
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    clock.textContent = left > 0 ? `You can go on in ${left} s.` : "You can go on now.";
    if (left <= 0) clearInterval(countdown);
  };
  tick();
  countdown = setInterval(tick, 250);
}

function busy(yes) {
  $("send").disabled = yes;
  $("stop").hidden = !yes;
  $("log").setAttribute("aria-busy", yes);   // a screen reader waits for the whole answer instead of each word
  for (const button of document.querySelectorAll("[data-try]")) button.disabled = yes;
}

async function introduce() {
  if (naive) $("view").textContent = "Messages are put in with innerHTML, which a page must not do.";
  $(naive ? "naive-link" : "careful-link").setAttribute("aria-current", "page");
  if (base) {
    $("banner").textContent = `This copy of the page comes from ${location.origin} and talks to the chat at ${base}.`;
    $("banner").hidden = false;
    return;
  }
  try {
    const response = await ask("", "/api/about");
    const guarded = response.headers.has("x-request-id");
    $("guard").textContent = guarded ? "behind a sidecar" : "no sidecar in front";
    $("guard").className = `chip ${guarded ? "on" : "off"}`;
    $("guard").hidden = false;
    const { direct } = await response.json();
    if (direct && direct !== location.origin) {
      $("foreign-link").href = `${direct}/?through=${encodeURIComponent(location.origin)}`;
      $("foreign").hidden = false;
    }
  } catch (error) {
    notice(explainError(error, base));
  }
}

// `?through=` names the chat to talk to, so that this page can be tried from a foreign origin. Loopback only.
function otherChat() {
  const named = new URLSearchParams(location.search).get("through");
  if (!named || !URL.canParse(named)) return "";
  const { origin, hostname } = new URL(named);
  return ["127.0.0.1", "localhost", "[::1]"].includes(hostname) && origin !== location.origin ? origin : "";
}

function sessionId() {
  const kept = sessionStorage.getItem("session");
  if (kept) return kept;
  const made = Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("session", made);
  return made;
}
