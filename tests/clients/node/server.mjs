// Chat routes as the documentations of `ai` and of AG-UI write them; both say back what they heard.
import { createServer } from "node:http";
import { EventType } from "@ag-ui/client";
import { EventEncoder } from "@ag-ui/encoder";
import { convertToModelMessages, simulateReadableStream, streamText } from "ai";
import { MockLanguageModelV4 } from "ai/test";

function pieces(text) {
  return text.match(/[\s\S]{1,5}/g);
}

const model = new MockLanguageModelV4({
  doStream: async ({ prompt }) => {
    const said = `You said: ${prompt.at(-1).content[0].text}`;
    const usage = { inputTokens: { total: 1 }, outputTokens: { total: 2 } };
    const chunks = [
      { type: "text-start", id: "t" },
      ...pieces(said).map((delta) => ({ type: "text-delta", id: "t", delta })),
      { type: "text-end", id: "t" },
      { type: "finish", finishReason: { unified: "stop", raw: "stop" }, usage },
    ];
    return { stream: simulateReadableStream({ chunks }) };
  },
});

async function chat({ messages }, response) {
  const result = streamText({ model, messages: await convertToModelMessages(messages) });
  result.pipeUIMessageStreamToResponse(response);
}

function agent({ threadId, runId, messages }, response, accept) {
  const encoder = new EventEncoder({ accept });
  const messageId = "m1";
  const events = [
    { type: EventType.RUN_STARTED, threadId, runId },
    { type: EventType.TEXT_MESSAGE_START, messageId, role: "assistant" },
    ...pieces(`You said: ${messages.at(-1).content}`).map((delta) => ({
      type: EventType.TEXT_MESSAGE_CONTENT,
      messageId,
      delta,
    })),
    { type: EventType.TEXT_MESSAGE_END, messageId },
    { type: EventType.RUN_FINISHED, threadId, runId },
  ];
  response.writeHead(200, { "Content-Type": encoder.getContentType() });
  for (const event of events) response.write(encoder.encode(event));
  response.end();
}

createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const asked = JSON.parse(body);
  if (request.url === "/agent") agent(asked, response, "text/event-stream");
  else await chat(asked, response);
}).listen(Number(process.argv[2]), "127.0.0.1");
