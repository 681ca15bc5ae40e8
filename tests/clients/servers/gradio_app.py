"""A chat of Gradio's own making; it says back what it heard, piece by piece."""

import sys

import gradio


def echo(message, history):
    said = f"You said: {message}"
    for end in range(5, len(said) + 5, 5):
        yield said[:end]


gradio.ChatInterface(echo).launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
