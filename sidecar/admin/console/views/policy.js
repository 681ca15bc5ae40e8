import { code, element } from "../dom.js";
import { facts, table } from "../table.js";
import { when } from "../words.js";

export const title = "Policy";

export async function show(panel, { api, attempt }) {
  await attempt(async () => {
    const state = await api.get("/api/policy");
    panel.append(
      facts([
        ["Digest", code(state.digest ?? "–")],
        ["Mode", state.mode],
        ["Live since", when(state.loaded_at)],
      ]),
      ...problems(state.problems ?? []),
      ...undeclaredProxies(state.undeclared_proxies ?? []),
      ...droppedHeaders(state.dropped_headers ?? {}),
      state.policy ? element("pre", { tabIndex: 0, "aria-label": "The policy with its defaults" }, JSON.stringify(state.policy, null, 2)) : "",
    );
  });
}

function problems(found) {
  if (!found.length) return [];
  return [element("h2", {}, "A newer policy was rejected"), element("ul", { className: "bad" }, found.map((each) => element("li", {}, String(each))))];
}

function undeclaredProxies(peers) {
  if (!peers.length) return [];
  const hint = "They send forwarding headers and are not in clients.trusted_proxies: if they are proxies of yours, all their clients count as one.";
  const rows = peers.map((peer) => ({ peer }));
  return [
    element("h2", {}, "Peers that may be proxies"),
    element("p", { className: "hint" }, hint),
    table({ caption: "Peers that may be proxies", columns: [{ title: "Address", cell: ({ peer }) => code(peer) }], rows }),
  ];
}

function droppedHeaders(counts) {
  const rows = Object.entries(counts);
  if (!rows.length) return [];
  const hint = "Clients may not send these: clients.trusted_proxies names the proxies that may, clients.pass_headers lets one through.";
  return [
    element("h2", {}, "Request headers that were dropped"),
    element("p", { className: "hint" }, hint),
    table({
      caption: "Request headers that were dropped",
      columns: [
        { title: "Header", cell: ([name]) => code(name) },
        { title: "Times", cell: ([, times]) => String(times), className: "number" },
      ],
      rows,
    }),
  ];
}
