// A chat route as the `ai` package's documentation writes it, with a model that says back what it heard.
import { createServer } from "node:http";
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

createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const { messages } = JSON.parse(body);
  const result = streamText({ model, messages: await convertToModelMessages(messages) });
  result.pipeUIMessageStreamToResponse(response);
}).listen(Number(process.argv[2]), "127.0.0.1");
