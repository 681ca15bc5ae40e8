// What a view works with. It ends when another view is opened: its requests are aborted, its timers stop.

import { hashOf } from "./dom.js";
import { notRefreshed, problem, toast } from "./notice.js";

const ROLES = ["viewer", "operator", "admin"];
const SLOWER = 4; // times the wait, after a failure

export const isForAll = (grant) => grant.organization === "*";

export const holds = (grant, role) => ROLES.indexOf(grant.role) >= ROLES.indexOf(role);

// api         calls of the admin API: get(path), post(path, body), put(path, body), remove(path, body), events(signal);
//             they end with the view
// grant       who is signed in: { actor, role, organization ("*": all), expires }
// may(role)   whether that role is held; `isForAll`: the token is for all organizations
// parameters  URLSearchParams of the hash
// navigate    (view, parameters) opens another view
// keep        (parameters) writes them into the hash without opening anything
// attempt     (work) runs it and shows what it throws above the view; returns whether it went well
// every       (seconds, work) runs it now and then again and again, never twice at once, not while the page is hidden
// toast       (text) shows a short message
// signal      aborts when the view is left
// now         () => milliseconds
export function contextOf({ api, grant, name, parameters, onSignedOut }) {
  const ending = new AbortController();
  const { signal } = ending;

  async function tried(work, say) {
    try {
      await work();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (error.status === 401) onSignedOut("Signed out: the token is not good any more.");
      else say(error.message);
      return false;
    }
  }

  function attempt(work) {
    problem("");
    return tried(work, problem);
  }

  async function refreshed(work) {
    const isFine = await tried(work, notRefreshed);
    if (isFine && !signal.aborted) notRefreshed("");
    return isFine;
  }

  function every(seconds, work) {
    const again = (isFine) => setTimeout(turn, seconds * 1000 * (isFine ? 1 : SLOWER));
    const turn = async () => {
      if (signal.aborted) return;
      const isFine = document.hidden || (await refreshed(work));
      if (!signal.aborted) again(isFine);
    };
    return turn();
  }

  const context = {
    api: api.endingWith(signal),
    grant,
    isForAll: isForAll(grant),
    may: (role) => holds(grant, role),
    parameters,
    navigate: (view, values) => (location.hash = hashOf(view, values)),
    keep: (values) => history.replaceState(null, "", hashOf(name, values)),
    attempt,
    every,
    toast,
    signal,
    now: Date.now,
  };
  return { context, end: () => ending.abort() };
}
