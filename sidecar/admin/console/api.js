// Calls to the admin API. The token lives in this closure and nowhere else.

const LONGEST = 20_000; // milliseconds that one call may take, unless it says more

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function connect(token) {
  const headers = { Authorization: `Bearer ${token}` };

  async function request(method, path, body, signal, longest = LONGEST) {
    const response = await fetched(path, {
      method,
      headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any([AbortSignal.timeout(longest), ...(signal ? [signal] : [])]),
    });
    return response.json();
  }

  // EventSource cannot send a header, and a token does not belong in a URL: read the stream ourselves.
  async function* events(signal, after = 0) {
    const response = await fetched(`/api/events?after=${after}`, {
      headers: { ...headers, Accept: "text/event-stream" },
      signal,
    });
    let text = "";
    for await (const chunk of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
      text += chunk;
      const messages = text.split("\n\n");
      text = messages.pop();
      for (const message of messages) yield parsed(message);
    }
  }

  // The same calls, each of which ends when `signal` is aborted; a change that is under way is not.
  const endingWith = (signal) => ({
    get: (path, longest) => request("GET", path, undefined, signal, longest),
    post: (path, body = {}) => request("POST", path, body),
    put: (path, body) => request("PUT", path, body),
    remove: (path, body) => request("DELETE", path, body),
    events,
    endingWith,
  });
  return endingWith(undefined);
}

async function fetched(path, options) {
  const response = await fetch(path, { credentials: "omit", cache: "no-store", ...options }).catch((error) => {
    if (error.name === "AbortError") throw error;
    const reason = error.name === "TimeoutError" ? "did not answer in time" : "cannot be reached";
    throw new Problem(0, `The sidecar ${reason}`);
  });
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Problem(response.status, answer.error ?? `The sidecar answered ${response.status}`);
}

function parsed(message) {
  const data = message.split("\n").find((line) => line.startsWith("data: "));
  if (data === undefined) return { kind: "alive" };
  if (message.startsWith("event: missed")) return { kind: "missed", ...JSON.parse(data.slice(6)) };
  return { kind: "event", event: JSON.parse(data.slice(6)) };
}

async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}
