// Calls to the admin API. The token lives in this closure and nowhere else.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function connect(token) {
  const headers = { Authorization: `Bearer ${token}` };

  async function request(method, path, body) {
    const response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Problem(response.status, answer.error ?? `The sidecar answered ${response.status}`);
    return answer;
  }

  // EventSource cannot send a header, and a token does not belong in a URL: read the stream ourselves.
  async function* events(signal) {
    const response = await fetch("/api/events", {
      headers: { ...headers, Accept: "text/event-stream" },
      credentials: "omit",
      cache: "no-store",
      signal,
    });
    if (!response.ok) {
      const answer = await response.json().catch(() => ({}));
      throw new Problem(response.status, answer.error ?? `The sidecar answered ${response.status}`);
    }
    let text = "";
    for await (const chunk of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
      text += chunk;
      const messages = text.split("\n\n");
      text = messages.pop();
      for (const message of messages) {
        const data = message.split("\n").find((line) => line.startsWith("data: "));
        if (data === undefined) yield { kind: "alive" };
        else if (message.startsWith("event: missed")) yield { kind: "missed", ...JSON.parse(data.slice(6)) };
        else yield { kind: "event", event: JSON.parse(data.slice(6)) };
      }
    }
  }

  return {
    get: (path) => request("GET", path),
    post: (path, body) => request("POST", path, body),
    remove: (path) => request("DELETE", path),
    events,
  };
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
