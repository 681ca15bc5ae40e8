"""Messages of Shiny: the values of a page's inputs."""

from __future__ import annotations

import re
from typing import Any, Final

from sidecar.messages.sockets.inspector import SocketInspector, message
from sidecar.messages.sockets.results import SocketMessage
from sidecar.messages.text_finder import Texts
from sidecar.vocabulary import Code

SENT: Final = re.compile(r"_user_input|_slash_command|:shiny\.action")
DATA_URL: Final = re.compile(r"data:[\w.+/-]*;base64,[A-Za-z0-9+/=]*")
CHAT: Final = re.compile(rb'"([^"\\\x00-\x1f]{1,200}_user_input)')


class ShinyInspector(SocketInspector):
    """Shiny, with or without shinychat."""

    def chosen(self, value: Any, texts: Texts) -> Texts:  # noqa: ARG002
        """Leave out passwords, which must arrive as typed and are shown nowhere, and attached files."""
        said = [(where, text) for where, text in texts if not _is_file(where, text)]
        self.unread = len(texts) - len(said)
        return [(where, text) for where, text in said if not _name(where).endswith(":shiny.password")]

    def length(self, value: Any, texts: Texts) -> int:
        """Leave out the browser's data about itself (`.clientdata_url_search`)."""
        return super().length(value, [(w, text) for w, text in texts if not _name(w).startswith(".clientdata")])

    def counts(self, value: Any, texts: Texts) -> bool:  # noqa: ARG002
        """Return whether a chat message was sent or a button pressed; other inputs come while they are typed."""
        data = value.get("data") if isinstance(value, dict) else None
        return isinstance(data, dict) and any(SENT.search(name) for name in data)

    def begun(self, head: bytes) -> Any:
        """Return the chat that a message was for."""
        chat = CHAT.search(head)
        return None if chat is None else {"data": {chat[1].decode("utf-8", "replace"): ""}}

    def replies(self, code: Code) -> tuple[SocketMessage, ...]:
        """Return a notification, and a message that ends the waiting state of each chat that was written to."""
        note = {
            "html": code.sentence,
            "action": "",
            "deps": [],
            "closeButton": True,
            "id": self.fresh_id(),
            "type": "error",
            "duration": 10_000,
        }
        replies = message({"notification": {"type": "show", "message": note}})
        for chat in self._chats():
            action = {"id": chat, "action": {"type": "remove_loading"}}
            replies += message({"custom": {"shinyChatMessage": action}})
        return replies

    def _chats(self) -> list[str]:
        data = self._value.get("data") if isinstance(self._value, dict) else None
        if not isinstance(data, dict):
            return []
        return [name.partition("_user_input")[0][:200] for name in data if "_user_input" in name][:4]


def _name(where: tuple[object, ...]) -> str:
    """Return the name of the input that a text belongs to."""
    return where[1] if len(where) > 1 and isinstance(where[1], str) else ""


def _is_file(where: tuple[object, ...], text: str) -> bool:
    """Return whether a text is the data of a file that is attached to a chat message."""
    return len(where) == 5 and where[2::2] == ("attachments", "data_url") and DATA_URL.fullmatch(text) is not None
