// The page: signing in and out, and the tabs.

import { connect } from "./api.js";
import { byId, element, span, table, when } from "./dom.js";
import { liveEvents } from "./events.js";

const tabs = [...byId("tabs").querySelectorAll("[role=tab]")];
let api = null;
let stopEvents = () => {};

const views = {
  async limits(panel) {
    const state = await api.get("/api/rate-limit/status");
    const stores = Object.entries(state.stores).map(([name, up]) => element("p", {}, `${name}: `, span(up, up)));
    panel.replaceChildren(
      ...stores,
      table("Rate limits", ["Name", "Per", "Limit", "Window"], state.limits.map((l) => [l.name, l.per, String(l.limit), `${l.window} s`])),
    );
  },
  async bans(panel) {
    const { bans } = await api.get("/api/bans");
    const rows = bans.map((ban) => {
      const lift = element("button", { type: "button" }, "Lift");
      lift.setAttribute("aria-label", `Lift the ban of ${ban.ip}`);
      lift.onclick = () => attempt(async () => {
        await api.remove(`/api/bans/${encodeURIComponent(ban.ip)}`);
        await views.bans(panel);
      });
      return [ban.ip, when(ban.until), ban.reason, String(ban.strikes), lift];
    });
    panel.replaceChildren(rows.length ? table("Bans", ["Address", "Until", "Reason", "Strikes", "Action"], rows) : element("p", {}, "No address is banned."));
  },
  async credentials(panel) {
    const { credentials } = await api.get("/api/api-credentials");
    const rows = credentials.map((c) => [c.organization, c.provider, c.name, span(c.state, c.state), `…${c.last_four}`, element("code", {}, c.fingerprint), when(c.expires_at)]);
    panel.replaceChildren(rows.length ? table("Credentials", ["Organization", "Provider", "Name", "State", "Ends in", "Fingerprint", "Expires"], rows) : element("p", {}, "No credential is stored."));
  },
  async policy(panel) {
    const state = await api.get("/api/policy");
    showPolicy(state);
    const problems = (state.problems ?? []).map((problem) => element("li", { className: "error" }, String(problem)));
    panel.replaceChildren(
      element("p", {}, "Digest ", element("code", {}, state.digest ?? "–"), ", live since ", when(state.loaded_at)),
      element("ul", {}, ...problems),
      ...undeclaredProxies(state.undeclared_proxies ?? []),
      ...droppedHeaders(state.dropped_headers ?? {}),
      state.policy ? element("pre", { tabIndex: 0 }, JSON.stringify(state.policy, null, 2)) : "",
    );
  },
  async suggestions(panel) {
    try {
      const found = await api.get("/api/suggestions");
      panel.replaceChildren(element("pre", { tabIndex: 0 }, found.yaml));
    } catch (error) {
      if (error.status !== 404) throw error;
      panel.replaceChildren(element("p", {}, "Nothing is observed: write mode: observe into the policy, then chat for a minute."));
    }
  },
};

function undeclaredProxies(peers) {
  if (!peers.length) return [];
  const hint = "They send forwarding headers and are not in clients.trusted_proxies: if they are proxies of yours, all their clients count as one.";
  return [table("Peers that may be proxies", ["Address"], peers.map((peer) => [element("code", {}, peer)])), element("p", { className: "hint" }, hint)];
}

function droppedHeaders(counts) {
  const rows = Object.entries(counts).map(([name, times]) => [element("code", {}, name), String(times)]);
  if (!rows.length) return [];
  const hint = "Clients may not send these: clients.trusted_proxies names the proxies that may, clients.pass_headers lets one through.";
  return [table("Request headers that were dropped", ["Header", "Times"], rows), element("p", { className: "hint" }, hint)];
}

function showPolicy(state) {
  const line = byId("policy-line");
  line.textContent = `policy ${(state.digest ?? "").slice(0, 12)}, ${state.mode ?? ""}${state.successful === false ? " – a newer policy was rejected" : ""}`;
  line.className = state.successful === false ? "error" : "";
}

async function attempt(work) {
  const problem = byId("problem");
  problem.textContent = "";
  try {
    await work();
  } catch (error) {
    if (error.status === 401) signOut();
    problem.textContent = error.message;
  }
}

function choose(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  const name = tab.id.slice("tab-".length);
  if (views[name]) attempt(() => views[name](byId(`view-${name}`)));
}

function signOut() {
  stopEvents();
  api = null;
  byId("console").hidden = true;
  byId("sign-out").hidden = true;
  byId("sign-in").hidden = false;
  byId("policy-line").textContent = "";
  for (const name of Object.keys(views)) byId(`view-${name}`).replaceChildren();
  byId("token").focus();
}

byId("sign-in").onsubmit = (submitted) => {
  submitted.preventDefault();
  const field = byId("token");
  const fresh = connect(field.value.trim());
  field.value = "";
  attempt(async () => {
    showPolicy(await fresh.get("/api/policy"));
    api = fresh;
    byId("sign-in").hidden = true;
    byId("console").hidden = false;
    byId("sign-out").hidden = false;
    stopEvents = liveEvents(api, (error) => {
      signOut();
      byId("problem").textContent = error.message;
    });
    choose(tabs[0]);
    tabs[0].focus();
  });
};

byId("sign-out").onclick = () => {
  byId("problem").textContent = "";
  signOut();
};

for (const tab of tabs) {
  tab.onclick = () => choose(tab);
  tab.onkeydown = (pressed) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[pressed.key];
    if (step === undefined) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  };
}
