"""Shiny's Chat, as its template "chat / hello" shows it: streamed, with a file input beside it."""

import asyncio

from shiny import App, render, ui

app_ui = ui.page_fillable(
    ui.panel_title("Shiny"),
    ui.input_file("file", "A file"),
    ui.output_text("received"),
    ui.chat_ui("chat"),
    fillable_mobile=True,
)


def server(input, output, session):  # noqa: A002 - shiny's own name
    chat = ui.Chat(id="chat")

    @chat.on_user_submit
    async def _(question: str):
        async def pieces():
            said = f"You said: {question}"
            step = max(4, len(said) // 25)
            for at in range(0, len(said), step):
                await asyncio.sleep(0.02)
                yield said[at : at + step]

        await chat.append_message_stream(pieces())

    @render.text
    def received():
        files = input.file()
        return f"Received {files[0]['name']}: {files[0]['size']} bytes" if files else ""


app = App(app_ui, server)
