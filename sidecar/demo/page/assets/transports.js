// The ways to talk to the chat. Each yields the same events:
//   {kind: "open", headers} · {kind: "start", message} · {kind: "word", text} · {kind: "done", reply}
// and every refusal is the same kind of error.

export class Refused extends Error {
  constructor(status, headers, body) {
    super(`${status} ${body.code ?? ""}`);
    this.status = status;
    this.headers = headers;
    this.code = body.code ?? body.error?.code ?? "";
    this.requestId = body.request_id ?? headers.get("x-request-id") ?? "";
  }
}

export class Unreachable extends Error {
  constructor(refusedOrigin) {
    super("unreachable");
    this.refusedOrigin = refusedOrigin;   // true: a server is there, and refuses this origin
  }
}

export class CutShort extends Error {}

export function transportsTo(base) {
  return { stream: (...a) => stream(base, ...a), json: (...a) => json(base, ...a), socket: (...a) => socket(base, ...a) };
}

export async function ask(base, path, options = {}) {
  let response;
  try {
    response = await fetch(base + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable(await refusesOrigin(base));
  }
  if (!response.ok) throw new Refused(response.status, response.headers, await bodyOf(response));
  return response;
}

function post(base, message, session, accept, signal) {
  return ask(base, "/api/chat", {
    method: "POST",
    headers: { "content-type": "application/json", accept },
    body: JSON.stringify({ sessionId: session, message }),
    signal,
  });
}

async function* json(base, message, session, signal) {
  const response = await post(base, message, session, "application/json", signal);
  yield { kind: "open", headers: response.headers };
  const answer = await response.json();
  yield { kind: "start", message: answer.message };
  yield { kind: "done", reply: answer.reply };
}

async function* stream(base, message, session, signal) {
  const response = await post(base, message, session, "text/event-stream", signal);
  yield { kind: "open", headers: response.headers };
  let done = false;
  try {
    for await (const { event, data } of events(response.body)) {
      done ||= event === "done";
      yield { kind: event, ...JSON.parse(data) };
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CutShort();
  }
  if (!done) throw new CutShort();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 2);
      }
      yield event;
    }
  }
}

async function* socket(base, message, session, signal) {
  const address = new URL("/ws", base || location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const ws = new WebSocket(address);
  const inbox = [];
  let wake = () => {};
  const put = item => { inbox.push(item); wake(); };
  ws.onopen = () => ws.send(JSON.stringify({ sessionId: session, message }));
  ws.onmessage = ({ data }) => put(JSON.parse(data));
  ws.onclose = ({ code }) => put({ type: "closed", code });
  signal.addEventListener("abort", () => ws.close(), { once: true });
  let opened = false;
  try {
    for (;;) {
      while (!inbox.length) await new Promise(resolve => { wake = resolve; });
      const { type, ...rest } = inbox.shift();
      signal.throwIfAborted();
      if (type === "closed") throw opened ? new CutShort() : await whyClosed(base, rest.code);
      opened = true;
      yield { kind: type, ...rest };
      if (type === "done") return;
    }
  } finally {
    ws.close();
  }
}

async function whyClosed(base, code) {
  if (code === 1008) return new Refused(400, new Headers(), { code: "MESSAGE_INVALID" });
  if (code === 1009) return new Refused(413, new Headers(), { code: "BODY_TOO_LARGE" });
  if (code === 1013) return new Refused(429, new Headers(), { code: "RATE_LIMIT_EXCEEDED" });
  // A browser does not tell a page why an upgrade failed: ask again in plain HTTP, which does.
  try {
    await ask(base, "/api/about");
  } catch (error) {
    return error;
  }
  return new Unreachable(base !== "");
}

async function refusesOrigin(base) {
  if (!base) return false;
  try {
    // A no-cors answer cannot be read, but that one arrived shows that a server is there.
    await fetch(`${base}/api/about`, { mode: "no-cors", cache: "no-store" });
    return true;
  } catch {
    return false;
  }
}

async function bodyOf(response) {
  try {
    const body = await response.json();
    return body && typeof body === "object" ? body : {};
  } catch {
    return {};
  }
}
