"""Whose conversation it is: where ids stand, how they are spelled, and who may name them."""

from __future__ import annotations

import gzip

import pytest

from sidecar.decision import KEEP, PASS, Refuse
from sidecar.errors import StoreUnavailable
from sidecar.exchange import Client
from sidecar.guards.sessions.conversation_ids import URLS, begins, canonical, in_target, in_value, names_of
from sidecar.guards.sessions.ownership import (
    MOST_IDS,
    BodyOwnershipGuard,
    Ownership,
    OwnershipGuard,
    key_of_conversation,
)
from sidecar.guards.sessions.session import UNAVAILABLE
from sidecar.json_path import compile_path
from sidecar.messages.protocols.catalogue import BY_NAME, KNOWN
from sidecar.session import Session
from sidecar.stores.memory_sessions import MemorySessionStore
from sidecar.vocabulary import Code
from tests.support.exchanges import exchange

NOW = 1_800_000_000.0
CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
UUID = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
BARE = UUID.replace("-", "")

SPELLINGS = {
    UUID: BARE,
    UUID.upper(): BARE,
    BARE: BARE,
    "{" + UUID + "}": BARE,
    "urn:uuid:" + UUID: BARE,
    f" {UUID}\t": BARE,
    "42": "42",
    "+042": "42",
    "-0": "0",
    "thread_Ab": "thread_Ab",
    "\u0664\u0662": "\u0664\u0662",
    "9" * 41: "9" * 41,
}


@pytest.mark.parametrize(("text", "expected"), SPELLINGS.items(), ids=[ascii(text) for text in SPELLINGS])
def test_one_spelling(text, expected) -> None:
    assert canonical(text) == expected


TARGETS = {
    # (protocol, target, ids)
    "a thread": ("langgraph", "/threads/t1/runs/stream", ["t1"]),
    "behind a prefix": ("langgraph", "/api/v1/threads/t1", ["t1"]),
    "encoded": ("langgraph", "/threads/%741/state", ["t1"]),
    "capitals": ("langgraph", "/Threads/T1", ["T1"]),
    "doubled slashes": ("langgraph", "/threads//t1", ["t1"]),
    "dots": ("langgraph", "/threads/x/../t1", ["t1"]),
    "an encoded slash": ("langgraph", "/threads%2ft1", ["t1"]),
    "a parameter": ("langgraph", "/threads/t1;v=1", ["t1"]),
    "a backslash": ("langgraph", "/threads\\t1", ["t1"]),
    "two": ("langgraph", "/threads/t1/threads/t2", ["t1", "t2"]),
    "the list": ("langgraph", "/threads", []),
    "a word of the protocol": ("langgraph", "/threads/search", []),
    "a stream": ("vercel-ai", "/api/chat/c1/stream", ["c1"]),
    "no stream": ("vercel-ai", "/api/chat/vote", []),
    "the stream of none": ("vercel-ai", "/api/chat/stream", []),
    "a query": ("gradio", "/gradio_api/queue/data?session_hash=h1", ["h1"]),
    "an encoded query": ("gradio", "/q?session%5Fhash=h%31&x=1", ["h1"]),
    "a query with semicolons": ("gradio", "/q?x=1;session_hash=h1", ["h1"]),
    "twice": ("gradio", "/q?session_hash=h1&session_hash=h2", ["h1", "h2", "h1", "h2"]),
    "brackets": ("gradio", "/q?session_hash[]=h1", ["h1", "h1"]),
    "an empty one": ("gradio", "/q?session_hash=", []),
    "a response": ("openai-responses", "/v1/responses/resp_1/cancel", ["resp_1"]),
    "plain query": ("plain", "/api/chat?conversationId=c1", ["c1", "c1"]),
    "plain path": ("plain", "/api/conversations/42/messages", ["42"]),
    "plain word": ("plain", "/api/conversations/new", []),
    "a protocol without any": ("anthropic", "/threads/t1", []),
    "auto": ("auto", "/threads/t1", ["t1"]),
}


@pytest.mark.parametrize(("protocol", "target", "expected"), TARGETS.values(), ids=TARGETS)
def test_ids_in_targets(protocol, target, expected) -> None:
    assert set(in_target(target.encode(), names_of(protocol).url)) == set(expected)


BEGINNINGS = {
    "POST /api/conversations": True,
    "POST /api/conversations/": True,
    "POST /api/conversations/new": True,
    "GET /api/conversations": False,
    "POST /api/conversations/42/messages": False,
    "POST /api/new": False,
    "POST /": False,
}


@pytest.mark.parametrize(("line", "expected"), BEGINNINGS.items(), ids=BEGINNINGS)
def test_requests_that_make_one(line, expected) -> None:
    assert begins(exchange(*line.split()), URLS["plain"]) is expected


VALUES = {
    "text": ({"conversation": "c1"}, ["c1"]),
    "number": ({"conversation": 7}, ["7"]),
    "none": ({"conversation": None}, []),
    "empty": ({"conversation": ""}, []),
    "an object with the id": ({"conversation": {"id": "c1"}}, ["c1"]),
    "an object without": ({"conversation": {}}, []),
    "a truth": ({"conversation": True}, None),
    "a fraction": ({"conversation": 1.5}, None),
    "a list": ({"conversation": ["c1"]}, None),
    "an object in it": ({"conversation": {"id": {"x": 1}}}, None),
    "another case": ({"Conversation": "c1"}, None),
    "another case inside": ({"conversation": {"ID": "c1"}}, None),
    "a list of bodies": ([{"conversation": "c1"}], []),
}


@pytest.mark.parametrize(("value", "expected"), VALUES.values(), ids=VALUES)
def test_ids_in_values(value, expected) -> None:
    paths = (compile_path("$.conversation"), compile_path("$.conversation.id"))
    found = in_value(value, paths)
    assert (None if isinstance(found, Refuse) else found) == expected


def test_every_protocol_is_known_by_its_name() -> None:
    assert set(URLS) <= set(BY_NAME)
    for protocol in KNOWN:
        assert names_of(protocol.name).protocol == protocol.name
    assert not names_of("auto").client_named
    assert "$.id" not in [path.text for path in names_of("auto").paths]


def asked(owner: str = "", target: str = "/threads/t1", **fields: str):
    made = exchange("POST", target, client=CLIENT, now=NOW, **fields)
    if owner:
        made.session = Session(owner, "default", NOW, NOW, "203.0.113.0/24")
    return made


def forbidden(reason: str, protocol: str = "langgraph") -> Refuse:
    return Refuse(Code.FORBIDDEN, {"reason": reason, "protocol": protocol})


ANOTHER, UNKNOWN = forbidden("conversation of another session"), forbidden("unknown conversation")
NONE = forbidden("conversation without a session")
JUDGED = {
    # (adopt, who owns it, who asks, decision)
    "one's own": (False, "one", "one", PASS),
    "another's": (False, "one", "other", ANOTHER),
    "another's, without a session": (False, "one", "", NONE),
    "unowned": (False, "", "one", UNKNOWN),
    "unowned, without a session": (False, "", "", UNKNOWN),
    "unowned, adopted": (True, "", "one", PASS),
    "unowned, not adopted without a session": (True, "", "", PASS),
    "another's, not adopted": (True, "one", "other", ANOTHER),
    "another's, not adopted without a session": (True, "one", "", NONE),
}


@pytest.mark.parametrize(("adopt", "owner", "asks", "expected"), JUDGED.values(), ids=JUDGED)
async def test_who_may_name_one(adopt, owner, asks, expected) -> None:
    store = MemorySessionStore()
    if owner:
        await store.own(key_of_conversation("default", "t1"), owner, 3600.0, NOW)
    guard = OwnershipGuard(Ownership(store, names_of("langgraph"), ttl=3600.0, adopt=adopt))
    assert await guard.check(asked(asks)) == expected
    adopted = await store.owner(key_of_conversation("default", "t1"), NOW)
    assert adopted == (owner or (asks if adopt else None) or None)


async def test_organizations_do_not_share_ids() -> None:
    store = MemorySessionStore()
    ownership = Ownership(store, names_of("langgraph"), ttl=3600.0)
    await ownership.own(asked("one"), "t1")
    foreign = asked("one")
    foreign.organization = "acme"
    assert await OwnershipGuard(ownership).check(foreign) == UNKNOWN


async def test_an_answer_takes_nothing_away() -> None:
    store = MemorySessionStore()
    ownership = Ownership(store, names_of("langgraph"), ttl=3600.0)
    await ownership.own(asked("one"), "t1")
    await ownership.own(asked("other"), "t1")
    await ownership.own(asked(), "t2")
    assert await store.owner(key_of_conversation("default", "t1"), NOW) == "one"
    assert await store.owner(key_of_conversation("default", "t2"), NOW) is None


class Lost(MemorySessionStore):
    async def own(self, conversation, key, ttl, now):
        raise StoreUnavailable("gone")

    async def owner(self, conversation, now):
        raise StoreUnavailable("gone")


@pytest.mark.parametrize(("passes", "expected"), [(False, UNAVAILABLE), (True, PASS)], ids=["refuse", "pass"])
async def test_a_store_that_is_away(passes, expected) -> None:
    ownership = Ownership(Lost(), names_of("langgraph"), ttl=3600.0, pass_when_unavailable=passes)
    assert await OwnershipGuard(ownership).check(asked("one")) == expected
    assert await OwnershipGuard(ownership).check(asked("one", "/else")) is PASS


def body_guard(protocol: str = "langgraph", **given) -> BodyOwnershipGuard:
    return BodyOwnershipGuard(Ownership(MemorySessionStore(), names_of(protocol), ttl=3600.0), **given)


INVALID = Refuse(Code.MESSAGE_INVALID, {"reason": "not_json"})
BODIES = {
    # (body, content type, alone, decision)
    "names one": (b'{"thread_id": "t1"}', "application/json", False, UNKNOWN),
    "names none": (b'{"input": {}}', "application/json", False, KEEP),
    "empty": (b"", "application/json", True, KEEP),
    "calls itself something else": (b'{"thread_id": "t1"}', "text/plain", True, UNKNOWN),
    "unreadable, seen before": (b'{"thread_id"', "application/json", False, KEEP),
    "unreadable": (b'{"thread_id"', "application/json", True, INVALID),
    "unreadable, names none": (b"{", "application/json", True, KEEP),
    "an escaped name": (rb'{"thread\u005fid": "t1"}', "application/json", False, UNKNOWN),
    "no JSON at all": (b"--x\r\n", "multipart/form-data; boundary=x", True, KEEP),
    "twice": (
        b'{"thread_id": "t1", "thread_id": "t2"}',
        "application/json",
        True,
        Refuse(Code.MESSAGE_INVALID, {"reason": "duplicate_key"}),
    ),
}


@pytest.mark.parametrize(("body", "kind", "alone", "expected"), BODIES.values(), ids=BODIES)
async def test_bodies(body, kind, alone, expected) -> None:
    made = asked("one", "/else", Content_Type=kind)
    assert await body_guard(alone=alone).inspect(made, body) == expected


FORM = "application/x-www-form-urlencoded"
FORMS = {
    "names one": (b"message=hi&threadId=t1", FORM, False, forbidden("unknown conversation", "plain")),
    "escaped": (b"message=hi&thread%49d=t1", FORM, False, forbidden("unknown conversation", "plain")),
    "names none": (b"message=hi&threadId=", FORM, False, KEEP),
    "twice": (b"threadId=t1&threadId=t2", FORM, False, Refuse(Code.MESSAGE_INVALID, {"reason": "duplicate_key"})),
    "brackets": (b"threadId[]=t1", FORM, False, Refuse(Code.MESSAGE_INVALID, {"reason": "odd_field_name"})),
    "an odd upload": (b"no parts", "multipart/form-data; boundary=x", True, KEEP),
    "multipart": (
        b'--x\r\nContent-Disposition: form-data; name="threadId"\r\n\r\nt1\r\n--x--',
        "multipart/form-data; boundary=x",
        False,
        forbidden("unknown conversation", "plain"),
    ),
}


@pytest.mark.parametrize(("body", "kind", "alone", "expected"), FORMS.values(), ids=FORMS)
async def test_forms(body, kind, alone, expected) -> None:
    made = asked("one", "/else", Content_Type=kind)
    assert await body_guard("plain", alone=alone).inspect(made, body) == expected


async def test_compressed_bodies() -> None:
    body = gzip.compress(b'{"thread_id": "t1"}')
    made = asked("one", "/else", Content_Type="application/json", Content_Encoding="gzip")
    assert await body_guard().inspect(made, body) == UNKNOWN
    odd = asked("one", "/else", Content_Type="application/json", Content_Encoding="br")
    assert isinstance(await body_guard(alone=True).inspect(odd, body), Refuse)


async def test_a_url_waits_for_the_session_in_the_body() -> None:
    ownership = Ownership(MemorySessionStore(), names_of("langgraph"), ttl=3600.0)
    made = asked("", "/threads/t1", Content_Length="2")
    assert await OwnershipGuard(ownership, in_body=True).check(made) is PASS
    assert await BodyOwnershipGuard(ownership, in_body=True).inspect(made, b"{}") == UNKNOWN
    without = asked("", "/threads/t1")
    assert await OwnershipGuard(ownership, in_body=True).check(without) == UNKNOWN


async def test_the_number_of_ids_is_bounded() -> None:
    target = "/q?" + "&".join(f"session_hash={number}" for number in range(MOST_IDS + 1))
    guard = OwnershipGuard(Ownership(MemorySessionStore(), names_of("gradio"), ttl=3600.0))
    decision = await guard.check(asked("one", target))
    assert decision == Refuse(Code.MESSAGE_INVALID, {"reason": "too many conversations"})
