"""Messages of Shiny: the values of a page's inputs."""

from __future__ import annotations

from typing import Any

from sidecar.messages.sockets.inspector import SocketInspector, message
from sidecar.messages.sockets.results import SocketMessage
from sidecar.messages.text_finder import Texts
from sidecar.vocabulary import Code


class ShinyInspector(SocketInspector):
    """Shiny, with or without shinychat."""

    def chosen(self, value: Any, texts: Texts) -> Texts:  # noqa: ARG002
        """Leave out passwords, which must arrive as typed and are shown nowhere."""
        return [(where, text) for where, text in texts if not _name(where).endswith(":shiny.password")]

    def length(self, value: Any, texts: Texts) -> int:
        """Leave out the browser's data about itself (`.clientdata_url_search`)."""
        return super().length(value, [(w, text) for w, text in texts if not _name(w).startswith(".clientdata")])

    def counts(self, value: Any, texts: Texts) -> bool:  # noqa: ARG002
        """Return whether a chat message was sent or a button pressed; other inputs come while they are typed."""
        data = value.get("data") if isinstance(value, dict) else None
        return isinstance(data, dict) and any("_user_input" in name or ":shiny.action" in name for name in data)

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
