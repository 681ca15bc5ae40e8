// The frame: signing in and out, the navigation, and which view is open.

import { connect } from "./api.js";
import { contextOf, holds, isForAll } from "./context.js";
import { byId, element, hashOf, link } from "./dom.js";
import { frameState } from "./state.js";
import { problem } from "./notice.js";
import { keys } from "./keys.js";
import { GROUPS, VIEWS } from "./views.js";

let session = null; // { api, grant } while someone is signed in
let endView = () => {};
let endState = () => {};

async function signIn(token) {
  problem("");
  const api = connect(token);
  try {
    const grant = await api.get("/api/whoami");
    session = { api, grant };
  } catch (error) {
    signOut(error.message);
    return;
  }
  document.body.dataset.signedIn = "";
  byId("who").textContent = `${session.grant.actor}, ${session.grant.role}`;
  byId("who").title =
    session.grant.organization === "*" ? "all organizations" : `organization ${session.grant.organization}`;
  byId("nav-list").replaceChildren(...GROUPS.map(groupOf));
  endState = frameState(session, signOut);
  open();
}

function signOut(message = "") {
  endView();
  endState();
  session = null;
  delete document.body.dataset.signedIn;
  for (const id of ["panel", "nav-list", "toasts", "state", "who", "stale"]) byId(id).replaceChildren();
  for (const each of document.querySelectorAll("dialog")) each.close();
  document.title = "Sidecar console";
  problem(message);
  byId("token").focus();
}

function groupOf([name, views]) {
  const items = Object.entries(views).map(([view, { title }]) =>
    element("li", {}, link(title, view, {}, { "data-view": view })),
  );
  return element("li", {}, element("span", {}, name), element("ul", {}, items));
}

// Opens the view that the hash names: "#/events?id=abc".
function open() {
  if (!session) return;
  const [named, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const name = Object.hasOwn(VIEWS, named) ? named : firstFor(session.grant);
  const view = VIEWS[name];
  endView();
  closeMenu();
  const { context, end } = contextOf({
    ...session,
    name,
    parameters: new URLSearchParams(query),
    onSignedOut: signOut,
  });
  endView = end;
  showAsCurrent(name, view.title);
  const panel = element("div", { id: "panel", className: `view-${name}` });
  byId("panel").replaceWith(panel);
  const missing = missingFor(view, session.grant);
  if (missing) panel.append(element("p", { className: "empty" }, missing));
  else context.attempt(async () => view.show(panel, context));
}

const firstFor = (grant) => Object.keys(VIEWS).find((name) => !missingFor(VIEWS[name], grant));

// Returns what a token lacks for a view, "" when it may open it.
function missingFor({ needs = {} }, grant) {
  const { role = "viewer", all = false } = needs;
  if (!holds(grant, role)) return `This takes a token of the role ${role}; yours is ${grant.role}.`;
  if (all && !isForAll(grant)) return `This takes a token for all organizations; yours is for ${grant.organization}.`;
  return "";
}

function showAsCurrent(name, title) {
  document.title = `${title} – Sidecar console`;
  byId("title").textContent = title;
  for (const each of byId("nav-list").querySelectorAll("a")) {
    if (each.dataset.view === name) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  if (byId("nav").contains(document.activeElement) || document.activeElement === document.body) byId("title").focus();
  window.scrollTo(0, 0);
}

function closeMenu() {
  byId("menu").setAttribute("aria-expanded", "false");
}

byId("menu").onclick = () => {
  const isOpen = byId("menu").getAttribute("aria-expanded") === "true";
  byId("menu").setAttribute("aria-expanded", String(!isOpen));
  if (!isOpen) byId("nav-list").querySelector("[aria-current]")?.focus();
};

byId("skip").onclick = (clicked) => {
  clicked.preventDefault(); // the hash names the view
  byId("main").focus();
};

byId("find").onsubmit = (submitted) => {
  submitted.preventDefault();
  const id = byId("find-id").value.trim();
  if (id) location.hash = hashOf("events", { id });
};

byId("sign-in").onsubmit = (submitted) => {
  submitted.preventDefault();
  const token = byId("token").value.trim();
  byId("token").value = "";
  signIn(token);
};

byId("sign-out").onclick = () => signOut();

// A link with a token in its fragment signs in; the fragment is never sent, and leaves the address bar at once.
function tokenOfLink() {
  if (!location.hash.startsWith("#token=")) return "";
  const [token, view = ""] = location.hash.slice("#token=".length).split("&view=");
  history.replaceState(null, "", hashOf(view));
  return decodeURIComponent(token);
}

byId("link-command").textContent = `sidecar token --role viewer --console ${location.origin}`;
window.onhashchange = () => {
  const token = tokenOfLink();
  if (token && !session) signIn(token);
  else open();
};
keys({ isSignedIn: () => session !== null, close: closeMenu });
const token = tokenOfLink();
if (token) signIn(token);
else byId("token").focus();
