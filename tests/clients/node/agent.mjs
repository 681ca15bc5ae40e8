// AG-UI's own client: prints facts as JSON.
import { HttpAgent } from "@ag-ui/client";

async function say(url, text) {
  const agent = new HttpAgent({ url });
  agent.addMessage({ id: "u1", role: "user", content: text });
  const pieces = [];
  try {
    await agent.runAgent({}, { onTextMessageContentEvent: ({ event }) => void pieces.push(event.delta) });
    return { text: agent.messages.at(-1).content, pieces: pieces.length };
  } catch (error) {
    return { error: { class: error.constructor.name, text: error.message, status: error.status } };
  }
}

console.error = () => {};
const [url, markup, long, many] = process.argv.slice(2);
const facts = { plain: await say(url, "hello"), markup: await say(url, markup), too_long: await say(url, long) };
for (let tries = 0; tries < many; tries += 1) {
  facts.limited = await say(url, "again");
  if (facts.limited.error) break;
}
console.log(JSON.stringify(facts));
