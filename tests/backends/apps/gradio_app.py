"""Gradio's own chat, as its guide "Creating a chatbot fast" shows it: streamed, with files."""

import sys
import time

import gradio as gr


def answer(message, history):
    files = ", ".join(path.rsplit("/", 1)[-1] for path in message["files"])
    said = f"You said: {message['text']}" + (f" with {files}" if files else "")
    step = max(4, len(said) // 25)
    for end in range(step, len(said) + step, step):
        time.sleep(0.02)
        yield said[:end]


gr.ChatInterface(answer, multimodal=True, title="Gradio").launch(
    server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True
)
