// Asks for a completion with an SDK's default habits; prints what became of it. Arguments: sdk, base URL.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [sdk, url] = process.argv.slice(2);
const messages = [{ role: "user", content: "hi" }];

async function ask() {
  try {
    const reply =
      sdk === "openai"
        ? await new OpenAI({ baseURL: `${url}/v1`, apiKey: "k", maxRetries: 2 }).chat.completions.create({ model: "m", messages })
        : await new Anthropic({ baseURL: url, apiKey: "k", maxRetries: 2 }).messages.create({ model: "m", max_tokens: 9, messages });
    return { id: reply.id };
  } catch (error) {
    return { error: error.constructor.name, status: error.status };
  }
}

console.log(JSON.stringify(await ask()));
