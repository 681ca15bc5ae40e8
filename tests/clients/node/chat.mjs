// What `useChat` does, without React around it: prints facts as JSON.
import { AbstractChat, DefaultChatTransport } from "ai";

class State {
  status = "ready";
  error = undefined;
  messages = [];
  updates = 0;
  pushMessage = (message) => this.messages.push(message);
  popMessage = () => this.messages.pop();
  replaceMessage = (at, message) => {
    this.updates += 1;
    this.messages[at] = message;
  };
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(api) {
    const state = new State();
    super({ state, transport: new DefaultChatTransport({ api }) });
    this.kept = state;
  }
}

async function say(api, text) {
  const chat = new Chat(api);
  await chat.sendMessage({ text });
  const answer = chat.messages.at(-1);
  const error = chat.error && { class: chat.error.constructor.name, text: chat.error.message };
  return {
    status: chat.status,
    text: answer.role === "assistant" ? answer.parts.map((part) => part.text ?? "").join("") : "",
    pieces: chat.kept.updates,
    error,
  };
}

const [api, markup, long, many] = process.argv.slice(2);
const facts = { plain: await say(api, "hello"), markup: await say(api, markup), too_long: await say(api, long) };
for (let tries = 0; tries < many; tries += 1) {
  facts.limited = await say(api, "again");
  if (facts.limited.error) break;
}
console.log(JSON.stringify(facts));
