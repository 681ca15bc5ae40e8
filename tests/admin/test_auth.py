"""Tokens that a validly keyed, or an unkeyed, attacker writes by hand, sent to a running listener."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from sidecar.admin.auth import FAILURES
from tests.support.management import SECRET

KEY = SECRET.reveal().encode()
HEADER = '{"alg":"HS256"}'
LONG = "9" * 400


def b64(data: str | bytes) -> str:
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).decode().rstrip("=")


def signed(header: str, payload: str, key: bytes = KEY) -> str:
    text = f"{b64(header)}.{b64(payload)}"
    return f"{text}.{b64(hmac.digest(key, text.encode(), hashlib.sha256))}"


def claims(panel, **changes) -> str:
    """JSON of good claims; a change is the text of its value, None leaves it out."""
    good = {
        "aud": '"sidecar"',
        "role": '"admin"',
        "org": '"*"',
        "sub": '"ann"',
        "exp": str(int(panel.clock.now()) + 60),
    }
    return "{{{}}}".format(",".join(f'"{name}":{text}' for name, text in (good | changes).items() if text is not None))


async def status(client, token: str) -> int:
    async with client.get("/api/bans", headers={"Authorization": f"Bearer {token}"}) as response:
        if response.status == 401:
            assert (await response.json())["code"] == "AUTH_FAILED"
        return response.status


async def test_a_plain_token_holds(panel, client):
    assert await status(client, signed(HEADER, claims(panel))) == 200


REFUSED_CLAIMS = {
    "exp of 400 digits": {"exp": LONG},
    "exp of minus 400 digits": {"exp": f"-{LONG}"},
    "exp beyond floats": {"exp": "1e400"},
    "exp that is no number": {"exp": "NaN"},
    "exp as text": {"exp": '"9999999999"'},
    "exp as truth": {"exp": "true"},
    "exp as list": {"exp": "[9999999999]"},
    "no exp": {"exp": None},
    "nbf of 400 digits": {"nbf": LONG},
    "nbf to come": {"nbf": "9999999999"},
    "another audience": {"aud": '"other"'},
    "a list of other audiences": {"aud": '["other",["sidecar"]]'},
    "an object as audience": {"aud": '{"sidecar":1}'},
    "no audience": {"aud": None},
    "organization as list": {"org": '["*"]'},
    "organization as object": {"org": '{"*":1}'},
    "no organization": {"org": None},
    "empty organization": {"org": '""'},
    "half a character as organization": {"org": '"\\ud800"'},
    "NUL in the organization": {"org": '"acme\\u0000"'},
    "a claim of 3000 lists": {"aud": "[" * 3000 + "]" * 3000},
    "role as list": {"role": '["admin"]'},
    "role in capitals": {"role": '"ADMIN"'},
    "unknown role": {"role": '"root"'},
}


@pytest.mark.parametrize("changes", REFUSED_CLAIMS.values(), ids=REFUSED_CLAIMS)
async def test_claims_that_do_not_hold(panel, client, changes):
    assert await status(client, signed(HEADER, claims(panel, **changes))) == 401


async def test_an_audience_may_be_one_of_a_list(panel, client):
    assert await status(client, signed(HEADER, claims(panel, aud='["other","sidecar"]'))) == 200


async def test_a_subject_that_no_database_holds_is_written_as_one_that_it_does(panel, client):
    token = signed(HEADER, claims(panel, sub='"a\\u0000\\ud800"'))
    body = {"reason": "x", "type": "ip", "key": "203.0.113.9"}
    async with client.post(
        "/api/rate-limit/reset", json=body, headers={"Authorization": f"Bearer {token}"}
    ) as response:
        assert response.status < 500


REFUSED_HEADERS = {
    "no algorithm": "{}",
    "none": '{"alg":"none"}',
    "None": '{"alg":"NoNe"}',
    "another family": '{"alg":"RS256"}',
    "not in our list": '{"alg":"HS512"}',
    "a list of algorithms": '{"alg":["HS256"]}',
    "critical": '{"alg":"HS256","crit":["exp"],"exp":1}',
    "empty critical": '{"alg":"HS256","crit":[]}',
    "unencoded payload": '{"alg":"HS256","b64":false,"crit":["b64"]}',
    "not an object": "[]",
    "deep": "[" * 4000,
    "not JSON": "{",
}


@pytest.mark.parametrize("header", REFUSED_HEADERS.values(), ids=REFUSED_HEADERS)
async def test_headers_that_do_not_hold(panel, client, header):
    assert await status(client, signed(header, claims(panel))) == 401


OWN_KEY = json.dumps({"kty": "oct", "k": b64(b"k" * 32)})
POINTING = {
    "jku": '{"alg":"HS256","jku":"http://127.0.0.1:1/keys"}',
    "x5u": '{"alg":"HS256","x5u":"http://127.0.0.1:1/cert"}',
    "jwk": f'{{"alg":"HS256","jwk":{OWN_KEY}}}',
    "kid as a path": '{"alg":"HS256","kid":"../../../../dev/null"}',
    "kid as SQL": '{"alg":"HS256","kid":"x\' UNION SELECT \'k"}',
    "kid as a list": '{"alg":"HS256","kid":["a"]}',
}


@pytest.mark.parametrize("header", POINTING.values(), ids=POINTING)
async def test_a_header_cannot_choose_the_key(panel, client, header):
    """What points to a key is not followed: our own key decides, whatever stands there."""
    for key in (b"k" * 32, b"", b"\0"):
        assert await status(client, signed(header, claims(panel), key)) == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token + "A",
        lambda token: token + ".x",
        lambda token: token[:-4] + "AAAA",
        lambda token: "a" * 9000,
        lambda token: "..",
        lambda token: "\u00e9" + token,
    ],
    ids=["no signature", "longer", "five parts", "other signature", "too long", "empty parts", "not ASCII"],
)
async def test_texts_that_are_no_token(panel, client, change):
    assert await status(client, change(signed(HEADER, claims(panel)))) == 401


async def test_twenty_five_wrong_tokens_do_not_lock_out_a_right_one(panel, client):
    right, fresh = signed(HEADER, claims(panel)), signed(HEADER, claims(panel, sub='"bob"'))
    assert await status(client, right) == 200
    answers = [await status(client, signed(HEADER, claims(panel), b"wrong" * 8)) for _ in range(FAILURES + 5)]
    assert answers == [401] * FAILURES + [429] * 5
    assert await status(client, right) == 200
    assert await status(client, fresh) == 200
