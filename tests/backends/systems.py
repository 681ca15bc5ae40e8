"""The chat systems under test: how each is started from its own package, and where its page keeps what."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.processes import Process, free_port

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"
ENVIRONMENTS = ROOT / ".venv-backends"
KEY = "sk-0123456789abcdef0123456789abcdef"
"""Stands where a system wants a secret."""

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "true",
    "NO_PROXY": "*",
}
"""Nothing here calls home."""


@dataclass(frozen=True)
class Page:
    """Where a system's page keeps what a person uses; CSS as playwright reads it, through shadow roots."""

    box: str
    """The field that a message is typed into."""
    said: str
    """What the person said, one element a message."""
    answered: str
    """What was answered, one element a message."""
    file: str = ""
    """The input that takes a file; empty where the system has none."""
    tab: str = ""
    """What has to be clicked before the input for files is there."""
    attached: str = ""
    """What the page shows once `note.txt` is chosen and has arrived."""
    submit: str = ""
    """The button that sends a chosen file by itself; empty where it goes with the next message, or at once."""
    received: str = ""
    """What is answered to a message with the file `note.txt`."""
    button: str = ""
    """What sends a message, where the box can be typed into before the page is ready to send."""
    greeting: str = ""
    """What a first visitor has to close before the page can be used."""
    path: str = "/"


@dataclass(frozen=True)
class System:
    """A chat system: `program` with PORT and APPS put in, run in the environment of its name."""

    name: str
    program: tuple[str, ...]
    page: Page | None = None
    env: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    """A folder of apps/ that is copied to where the system runs: it keeps its state beside its configuration."""
    first: str = ""
    """A sign-in that is answered once before anybody comes: of several first ones at once, Open WebUI answers 503 to
    all but one, and their pages wait for ever (without the sidecar too)."""


GRADIO = System(
    "gradio",
    ("python", "APPS/gradio_app.py", "PORT"),
    Page(
        "textarea[data-testid=textbox]",
        ".message.user",
        ".message.bot",
        file="input[type=file]",
        attached=".thumbnail-item",
        received="with note.txt",
    ),
)
STREAMLIT_PAGE = Page(
    "[data-testid=stChatInputTextArea]",
    "[data-testid=stChatMessage]:has([data-testid=stChatMessageAvatarUser])",
    "[data-testid=stChatMessage]:has([data-testid=stChatMessageAvatarAssistant])",
    file="[data-testid=stFileUploader] input[type=file]",
    attached="text=Received note.txt: 8 bytes",
)
STREAMLIT = System(
    "streamlit",
    (
        *("streamlit", "run", "APPS/streamlit_app.py", "--server.port=PORT", "--server.address=127.0.0.1"),
        *("--server.headless=true", "--browser.gatherUsageStats=false"),
    ),
    STREAMLIT_PAGE,
)
DESK = replace(
    STREAMLIT, program=(*STREAMLIT.program, "--server.baseUrlPath=desk"), page=replace(STREAMLIT_PAGE, path="/desk")
)
"""The same under a path, as one of several backends."""
CHAINLIT = System(
    "chainlit",
    ("chainlit", "run", "APPS/chainlit_app.py", "--headless", "--host", "127.0.0.1", "--port", "PORT"),
    Page(
        "#chat-input",
        "[data-step-type=user_message]",
        "[data-step-type=assistant_message]",
        file="#upload-button-input",
        attached="text=note.txt",
        received="with note.txt",
        button="#chat-submit",
    ),
)
PANEL = System(
    "panel",
    (
        *("panel", "serve", "APPS/panel_app.py", "--port", "PORT", "--address", "127.0.0.1"),
        *("--allow-websocket-origin", "*"),
    ),
    Page(
        ".chat-interface-input-container textarea",
        ".chat-message .message",
        ".chat-message .message",
        file="input[type=file]",
        tab="text=FileInput",
        submit="button:has-text('Send') >> visible=true",
        received="a note.",
        path="/panel_app",
    ),
)
NICEGUI = System(
    "nicegui",
    ("python", "APPS/nicegui_app.py", "PORT"),
    Page(
        "input[placeholder='Your message']",
        ".q-message-sent",
        ".q-message-received",
        file=".q-uploader input[type=file]",
        attached="text=Received note.txt",
    ),
)
SHINY = System(
    "shiny",
    ("shiny", "run", "--host", "127.0.0.1", "--port", "PORT", "APPS/shiny_app.py"),
    Page(
        "[aria-label='Chat message']",
        ".shiny-chat-user-message",
        ".shiny-chat-message",
        file="#file",
        attached="text=Received note.txt: 8 bytes",
    ),
)
OPEN_WEBUI = System(
    "open-webui",
    ("open-webui", "serve", "--host", "127.0.0.1", "--port", "PORT"),
    Page(
        "#chat-input",
        ".user-message",
        ".chat-assistant",
        file="input[type=file]",
        attached="text=note.txt",
        received="note.txt",
        button="#send-message-button",
        greeting="text=Okay, Let's Go!",
    ),
    first="/api/v1/auths/signin",
    env={
        "WEBUI_SECRET_KEY": KEY,
        "WEBUI_AUTH": "False",
        "OPENAI_API_KEY": KEY,
        "ENABLE_OLLAMA_API": "False",
        "OFFLINE_MODE": "True",
        "RAG_EMBEDDING_ENGINE": "openai",
        "ENABLE_TITLE_GENERATION": "False",
        "ENABLE_TAGS_GENERATION": "False",
        "ENABLE_FOLLOW_UP_GENERATION": "False",
    },
)
WITH_ACCOUNTS = replace(
    OPEN_WEBUI,
    first="",
    env={**OPEN_WEBUI.env, "WEBUI_AUTH": "True", "ENABLE_SIGNUP": "True", "DEFAULT_USER_ROLE": "user"},
)
"""The same where people sign up and sign in."""
LANGGRAPH = System(
    "langgraph",
    ("langgraph", "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", "PORT"),
    folder="langgraph",
)
LITELLM = System(
    "litellm",
    ("litellm", "--config", "APPS/litellm_config.yaml", "--host", "127.0.0.1", "--port", "PORT"),
    env={"LITELLM_MASTER_KEY": KEY},
)

PAGES = {system.name: system for system in (GRADIO, STREAMLIT, CHAINLIT, PANEL, NICEGUI, SHINY, OPEN_WEBUI)}


def need_system(name: str) -> None:
    """Skip the test aloud where a system is not installed; in CI that is a failure, but for Open WebUI."""
    if (ENVIRONMENTS / name / ".installed").exists():
        return
    target = "backends-all" if name == OPEN_WEBUI.name else "backends"
    says = f"{name} is not installed: run `make {target}`"
    if os.environ.get("CI") and name != OPEN_WEBUI.name:
        pytest.fail(says)
    pytest.skip(says)


class Backend:
    """One running system; it starts at once, and is waited for when its URL is asked for."""

    def __init__(self, system: System, folder: Path, model: str) -> None:
        self.port = free_port()
        if system.folder:
            shutil.copytree(APPS / system.folder, folder, dirs_exist_ok=True)
        binaries = ENVIRONMENTS / system.name / "bin"
        first, *rest = (part.replace("PORT", str(self.port)).replace("APPS", str(APPS)) for part in system.program)
        # NiceGUI behaves otherwise where it thinks that pytest runs it.
        argv = [
            "/usr/bin/env",
            "-u",
            "PYTEST_CURRENT_TEST",
            str(binaries / "python"),
            *([] if first == "python" else [str(binaries / first)]),
            *rest,
        ]
        own = {"HOME": str(folder), "CHAINLIT_APP_ROOT": str(folder), "DATA_DIR": str(folder)}
        path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
        models = {"OPENAI_API_BASE_URL": model, "RAG_OPENAI_API_BASE_URL": model, "PARROT_URL": model}
        self.process = Process(argv, env={**QUIET, **own, **models, **system.env, "PATH": path}, cwd=folder)
        self._first = system.first

    @property
    def url(self) -> str:
        self.process.until_listening(self.port, seconds=300)
        url = f"http://127.0.0.1:{self.port}"
        if self._first:
            body, headers = json.dumps({"email": "", "password": ""}).encode(), {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(url + self._first, body, headers), timeout=60):
                self._first = ""
        return url

    def close(self) -> None:
        # Some wait for clients that left without closing their connections.
        self.process.stop(2)
