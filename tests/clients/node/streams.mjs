// Reads a streamed answer with an SDK; prints what came and how it ended. Arguments: sdk, base URL.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [sdk, url] = process.argv.slice(2);
const messages = [{ role: "user", content: "hi" }];

async function* texts() {
  if (sdk === "anthropic") {
    const client = new Anthropic({ baseURL: url, apiKey: "k", maxRetries: 0 });
    for await (const event of await client.messages.create({ model: "m", max_tokens: 9, messages, stream: true })) {
      if (event.type === "content_block_delta") yield event.delta.text;
    }
    return;
  }
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 0 });
  if (sdk === "responses") {
    for await (const event of await client.responses.create({ model: "m", input: "hi", stream: true })) {
      if (event.type === "response.output_text.delta") yield event.delta;
    }
    return;
  }
  for await (const part of await client.chat.completions.create({ model: "m", messages, stream: true })) {
    yield part.choices[0].delta.content;
  }
}

const came = [];
try {
  for await (const text of texts()) {
    came.push(text);
    console.log("begun");
  }
  console.log(JSON.stringify({ came, error: null }));
} catch (error) {
  console.log(JSON.stringify({ came, error: error.constructor.name, says: String(error.message) }));
}
