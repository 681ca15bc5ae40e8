"""A backend that gave no usable answer."""

from __future__ import annotations

from sidecar.errors import SidecarError
from sidecar.vocabulary import Code


class UpstreamError(SidecarError):
    """The backend did not give an answer; `code` is what the client is told.

    unsent  the request cannot have been acted upon: nothing of an answer has come
    unread  the backend's machine says that it has not read the request: it was closed on the way
    """

    def __init__(self, code: Code, reason: str, *, unsent: bool = False, unread: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.unsent = unsent
        self.unread = unread
