"""FastAPI, as apps read a message: form fields, and a model whose fields have camel-case aliases."""

from __future__ import annotations

import sys
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

app = FastAPI()


class Message(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    user_message: str


@app.post("/chat")
async def chat(user_message: Annotated[str, Form()]) -> list[str]:
    return [user_message]


@app.post("/json")
async def read(message: Message) -> list[str]:
    return [message.user_message]


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
