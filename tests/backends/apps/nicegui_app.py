"""NiceGUI's example "chat with AI": the answer grows as it is made; a file can be uploaded."""

import asyncio
import sys

from nicegui import events, ui


@ui.page("/")
def page():
    ui.label("NiceGUI")
    messages = ui.column().classes("w-full")

    async def send():
        question, text.value = text.value, ""
        with messages:
            ui.chat_message(text=question, name="You", sent=True)
            answer = ui.chat_message(name="Bot", sent=False)
        said = f"You said: {question}"
        step = max(4, len(said) // 25)
        for end in range(step, len(said) + step, step):
            answer.clear()
            with answer:
                ui.markdown(said[:end])
            await asyncio.sleep(0.02)

    def received(event: events.UploadEventArguments):
        with messages:
            ui.chat_message(text=f"Received {event.file.name}", name="Bot", sent=False)

    text = ui.input(placeholder="Your message").classes("w-full").on("keydown.enter", send)
    ui.upload(on_upload=received, auto_upload=True, label="A file")


ui.run(host="127.0.0.1", port=int(sys.argv[1]), title="NiceGUI", reload=False, show=False)
