"""Where requests and answers name conversations, and one spelling for each id. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson

from sidecar.decision import Refuse
from sidecar.exchange import Exchange
from sidecar.json_path import Path
from sidecar.messages.content_type import ContentType, Kind, media_of
from sidecar.messages.field_names import FormNames
from sidecar.messages.forms import multipart, urlencoded
from sidecar.messages.protocols.catalogue import AUTO, BY_NAME, KNOWN
from sidecar.messages.text_finder import HIDES_CASE, disguised
from sidecar.vocabulary import Code

CLIENT_NAMED: Final = frozenset({"vercel-ai", "ag-ui", "gradio"})
"""Protocols whose clients invent the ids: to name a new one is how a conversation begins there."""

UUID = re.compile(
    r"(?:urn:uuid:)?\{?([0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12})\}?"
)
NUMBER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UrlIdPlaces:
    """Where a protocol's URLs name a conversation.

    after   `…/{after}/{id}…`: the segment behind one of these, unless it is a fixed segment of the protocol
    words   those fixed segments
    before  where given, one of these must follow: `…/{after}/{id}/{before}`
    query   names of query parameters
    """

    after: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    query: frozenset[str] = frozenset()


URLS: Final[Mapping[str, UrlIdPlaces]] = {
    "langgraph": UrlIdPlaces(frozenset({"threads"}), frozenset({"search", "count", "prune", "stream"})),
    "vercel-ai": UrlIdPlaces(
        frozenset({"chat", "chats"}), before=frozenset({"stream"}), query=frozenset({"id", "chatId"})
    ),
    "gradio": UrlIdPlaces(query=frozenset({"session_hash"})),
    "openai-responses": UrlIdPlaces(
        frozenset({"responses", "conversations"}),
        frozenset({"input_tokens", "compact"}),
        query=frozenset({"conversation"}),
    ),
    "open-webui": UrlIdPlaces(
        frozenset({"chats"}),
        frozenset({"new", "import", "search", "list", "all", "archived", "pinned", "folder", "tags", "stats", "share"}),
        query=frozenset({"chat_id"}),
    ),
    "plain": UrlIdPlaces(
        frozenset({"conversations", "threads"}),
        frozenset({"search", "list", "new", "count", "all", "recent", "archived"}),
        query=frozenset({"conversationId", "conversation_id", "threadId", "thread_id"}),
    ),
    "ag-ui": UrlIdPlaces(query=frozenset({"threadId", "thread_id"})),
}
HEADERS: Final[Mapping[str, bytes]] = {"mcp": b"mcp-session-id"}
"""Fields that name one, in requests and in answers alike."""

NOWHERE: Final = UrlIdPlaces()
_OPEN: Final = [places for places in URLS.values() if not places.before]
ANY: Final = UrlIdPlaces(
    frozenset[str]().union(*(places.after for places in _OPEN)),
    frozenset[str]().union(*(places.words for places in _OPEN)),
    query=frozenset[str]().union(*(places.query for places in _OPEN)),
)


@dataclass(frozen=True, slots=True)
class ConversationIdPlaces:
    """Where the requests of a route name conversations, and whether clients invent the ids."""

    protocol: str
    paths: tuple[Path, ...]
    url: UrlIdPlaces
    header: bytes
    client_named: bool


def names_of(protocol: str) -> ConversationIdPlaces:
    """Return the places of a protocol. `auto` looks into bodies wherever any protocol has ids.

    It adopts ids that clients invent for none of them: what a body is dressed as must not decide.
    """
    known = BY_NAME[protocol]
    if known is AUTO:
        paths = {path.text: path for each in KNOWN for path in each.conversations if path.steps[0] != 1}
        del paths["$.id"]  # the chat of one protocol, the number of a call in others
        return ConversationIdPlaces(protocol, tuple(paths.values()), ANY, HEADERS["mcp"], client_named=False)
    name = known.name
    header = HEADERS.get(name, b"")
    return ConversationIdPlaces(name, known.conversations, URLS.get(name, NOWHERE), header, name in CLIENT_NAMED)


class BodyIdPrefilter:
    """Tells whether a body may contain one of the names in any spelling; most contain none and are not parsed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        names = {step for path in paths for step in path.steps[-1:] if isinstance(step, str)}
        self._names = tuple(orjson.dumps(name).lower() for name in sorted(names))
        self._always = any(not isinstance(path.steps[-1], str) for path in paths)

    def may_stand_in(self, body: bytes) -> bool:
        """Return whether the body must be parsed; never False for a body that names a conversation."""
        if self._always or hides_names(body):
            return True
        lower = body.lower()
        return any(name in lower for name in self._names)


def hides_names(body: bytes) -> bool:
    """Return whether a name may be there otherwise than in its own letters; what is quick to ask comes first."""
    if b"\\" in body and b"\\u" in body:
        return True
    return not body.isascii() and any(one in body for one in HIDES_CASE)


def in_value(value: Any, paths: Sequence[Path]) -> list[str] | Refuse:
    """Return the ids at the paths, or the reason why they cannot be read.

    An id is a text or an integer. A list or a boolean is refused: backends convert them in different ways.
    """
    ids: list[str] = []
    for path in paths:
        if disguised(value, path.steps):
            return Refuse(Code.MESSAGE_INVALID, {"reason": "name of a conversation"})
        for _, found in path.find(value):
            if found is None or found == "" or (isinstance(found, dict) and leads_on(path, paths)):
                continue
            if isinstance(found, bool) or not isinstance(found, str | int):
                return Refuse(Code.MESSAGE_INVALID, {"reason": "id of a conversation"})
            ids.append(canonical(str(found)))
    return ids


def form_of(content_type: bytes | None) -> ContentType | None:
    """Return the kind of form that a body is, or None for a body of another kind."""
    kind = media_of(content_type)
    return kind if isinstance(kind, ContentType) and kind.kind in (Kind.URLENCODED, Kind.MULTIPART) else None


def in_form(form: ContentType, body: bytes, paths: Sequence[Path]) -> list[str] | str:
    """Return the fields whose names are paths of one name, or the reason why they cannot be read."""
    names = FormNames((path.name for path in paths if path.name is not None), prefixed=False)
    fields = urlencoded(body, names) if form.kind is Kind.URLENCODED else multipart(body, form.boundary, names)
    return fields if isinstance(fields, str) else [field.text for field in fields]


def leads_on(path: Path, paths: Sequence[Path]) -> bool:
    """Return whether one of `paths` goes on below `path`."""
    size = len(path.steps)
    return any(len(other.steps) > size and other.steps[:size] == path.steps for other in paths)


def in_target(target: bytes, places: UrlIdPlaces) -> list[str]:
    """Return the ids that a request's target names, as the most lenient backend would read it."""
    if places is NOWHERE:
        return []
    path, _, query = target.decode("latin-1").partition("?")
    parts = segments(path)
    ids = []
    for at, part in enumerate(parts[1:], 1):
        if parts[at - 1].lower() in places.after and part.lower() not in places.words:
            following = parts[at + 1].lower() if at + 1 < len(parts) else ""
            if not places.before or following in places.before:
                ids.append(part)
    if places.query and query:
        wanted = {name.lower() for name in places.query}
        # `;` was a separator once, and some servers still read it so.
        pairs_of = [pair for text in (query, query.replace(";", "&")) for pair in parse_qsl(text)]
        ids += [value for name, value in pairs_of if name.partition("[")[0].strip().lower() in wanted]
    return [canonical(each) for each in ids if each]


def begins(exchange: Exchange, places: UrlIdPlaces) -> bool:
    """Return whether a request makes a conversation: `POST …/{after}`, or `…/{after}/new`."""
    parts = [part.lower() for part in segments(exchange.head.path)]
    if parts and parts[-1] == "new":
        parts.pop()
    return exchange.head.method == "POST" and bool(parts) and parts[-1] in places.after


def segments(path: str) -> list[str]:
    """Return a path's segments, decoded once, dots resolved, parameters dropped; letters as they came."""
    found: list[str] = []
    for raw in unquote(path).replace("\\", "/").split("/"):
        segment = raw.partition(";")[0]
        if segment == "..":
            if found:
                found.pop()
        elif segment not in ("", "."):
            found.append(segment)
    return found


def canonical(text: str) -> str:
    """Return one spelling for all that a backend may take for the same id: of UUIDs and whole numbers."""
    text = text.strip()
    uuid = UUID.fullmatch(text)
    if uuid is not None:
        return uuid[1].replace("-", "").lower()
    return str(int(text)) if NUMBER.fullmatch(text) else text
