"""The `openai` client: chat completions and responses, plain and streaming, and where Open WebUI has its API."""

import openai
from speech import URL, run

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
webui = openai.OpenAI(base_url=f"{URL}/api", api_key="none", max_retries=0)


def plain(text):
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


def streaming(text):
    chunks = client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], stream=True)
    return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]


def open_webui(text):
    answer = webui.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


def response(text):
    return client.responses.create(model="m", input=text).output_text


def response_streaming(text):
    events = client.responses.create(model="m", input=text, stream=True)
    return [event.delta for event in events if event.type == "response.output_text.delta"]


run(
    plain,
    streaming,
    open_webui,
    response,
    response_streaming,
    describe=lambda error: {"code": getattr(error, "code", None), "request": getattr(error, "request_id", None)},
)
