"""Tokens: what holds, and every way in which one does not."""

from __future__ import annotations

import base64
import hmac
import json

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from sidecar.admin.auth import FAILURES, Authority
from sidecar.admin.jwks import parse_keys
from sidecar.admin.jwt import MAX_TOKEN, TokenRefused, Verifier, make_token
from sidecar.admin.refusal import Refused
from sidecar.admin.roles import Grant, Role
from sidecar.errors import ConfigError
from sidecar.secret import Secret
from tests.support.clock import FakeClock

SECRET = Secret("a secret of this test, long enough to be one")
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
EC = ECKey.generate_key("P-256", parameters={"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", parameters={"kid": "ed"})
OTHER_RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
NOW = 1_800_000_000


class Published:
    """A key set as it stands now."""

    def __init__(self, *keys, **extra):
        documents = [key.as_dict(private=False) for key in keys]
        self.keys = parse_keys(json.dumps({"keys": [*documents, *extra.get("raw", [])]}).encode())
        self.renewals = 0

    def find(self, kid, key_type):
        return [key for name, key in self.keys.get(key_type, ()) if kid is None or name == kid]

    async def renew(self):
        self.renewals += 1
        return True


def claims(**changes):
    fields = {"aud": "sidecar", "sub": "ann", "role": "viewer", "org": "acme", "exp": NOW + 60, **changes}
    return {name: value for name, value in fields.items() if value is not None}


class Loose(jwt.JWSRegistry):
    """Signs with whatever algorithm a test wants."""

    def get_alg(self, name):
        return self.algorithms[name]


def signed(algorithm, key, header=None, **changes):
    return jwt.encode(
        {"alg": algorithm, **(header or {})}, claims(**changes), key, registry=Loose(strict_check_header=False)
    )


def hmac_token(secret=SECRET, **changes):
    return signed("HS256", OctKey.import_key(secret.reveal().encode()), **changes)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header, payload, key=b""):
    """A token by hand: HMAC over whatever is claimed, with whatever bytes."""
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{text}.{b64(hmac.digest(key, text.encode(), 'sha256') if key else b'')}"


def pem(key):
    return key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def both():
    return Verifier(FakeClock(), secret=SECRET, keys=Published(RSA, EC, ED))


GOOD = {
    "HS256": hmac_token,
    "RS256": lambda: signed("RS256", RSA, {"kid": "rsa"}),
    "ES256": lambda: signed("ES256", EC, {"kid": "ec"}),
    "EdDSA": lambda: signed("EdDSA", ED, {"kid": "ed"}),
    "Ed25519": lambda: signed("Ed25519", ED, {"kid": "ed"}),
    "without a key id": lambda: signed("RS256", RSA),
    "several audiences": lambda: hmac_token(aud=["elsewhere", "sidecar"]),
    "a header that is not known": lambda: signed("RS256", RSA, {"kid": "rsa", "x-made-up": "1"}),
    "not before, a moment ahead": lambda: hmac_token(nbf=NOW + 10),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_a_good_token_holds(make):
    assert both().verify(make())["sub"] == "ann"


BAD = {
    "nothing": ("", "malformed"),
    "two parts": ("a.b", "malformed"),
    "no base64": ("!!!.a.b", "malformed"),
    "no JSON": (f"{b64(b'x')}.a.b", "malformed"),
    "a list for a header": (f"{b64(b'[]')}.a.b", "malformed"),
    "deeply nested": (f"{b64(b'[' * 4000)}.a.b", "malformed"),
    "not ASCII": ("\u00e9.a.b", "malformed"),
    "too long": ("a" * (MAX_TOKEN + 1), "malformed"),
    "none": (forged({"alg": "none"}, claims()), "algorithm"),
    "None": (forged({"alg": "None"}, claims()), "algorithm"),
    "no alg": (forged({"typ": "JWT"}, claims()), "algorithm"),
    "a list of algs": (forged({"alg": ["HS256"]}, claims()), "algorithm"),
    "HS512": (signed("HS512", OctKey.import_key(SECRET.reveal().encode())), "algorithm"),
    "RS512": (signed("RS512", RSA, {"kid": "rsa"}), "algorithm"),
    "the public key as HMAC secret (PEM)": (forged({"alg": "HS256", "kid": "rsa"}, claims(), pem(RSA)), "signature"),
    "the public key as HMAC secret (JWK)": (
        forged({"alg": "HS256"}, claims(), json.dumps(RSA.as_dict(private=False)).encode()),
        "signature",
    ),
    "an empty HMAC secret": (forged({"alg": "HS256"}, claims(), b"\0"), "signature"),
    "another secret": (hmac_token(Secret("another secret, which is just as long as it")), "signature"),
    "an RSA key with ES256 in the header": (
        signed("RS256", RSA).replace(b64(b'{"typ":"JWT","alg":"RS256"}'), b64(b'{"typ":"JWT","alg":"ES256"}')),
        "signature",
    ),
    "another key under the same id": (signed("RS256", OTHER_RSA, {"kid": "rsa"}), "signature"),
    "an unknown key id": (signed("RS256", OTHER_RSA, {"kid": "new"}), "unknown_key"),
    "a key of its own in the header": (
        signed("RS256", OTHER_RSA, {"jwk": OTHER_RSA.as_dict(private=False)}),
        "signature",
    ),
    "a key id that is a number": (forged({"alg": "RS256", "kid": 7}, claims()), "malformed"),
    "a critical extension": (
        forged({"alg": "HS256", "crit": ["x"], "x": 1}, claims(), SECRET.reveal().encode()),
        "critical",
    ),
    "an unencoded payload": (
        forged({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims(), SECRET.reveal().encode()),
        "critical",
    ),
    "expired": (hmac_token(exp=NOW), "expired"),
    "no expiry": (hmac_token(exp=None), "expiry"),
    "an expiry that is text": (hmac_token(exp=str(NOW + 60)), "expiry"),
    "an expiry that is true": (hmac_token(exp=True), "expiry"),
    "an endless expiry": (hmac_token(exp=float("inf")), "expiry"),
    "not a number": (hmac_token(exp=float("nan")), "expiry"),
    "not yet": (hmac_token(nbf=NOW + 3600), "not_yet"),
    "no audience": (hmac_token(aud=None), "audience"),
    "another audience": (hmac_token(aud="sidecar2"), "audience"),
    "an audience that holds the name": (hmac_token(aud="not sidecar at all"), "audience"),
    "other audiences": (hmac_token(aud=["a", "b"]), "audience"),
    "a changed payload": (
        ".".join(
            [hmac_token().split(".")[0], b64(json.dumps(claims(role="admin")).encode()), hmac_token().split(".")[2]]
        ),
        "signature",
    ),
    "a payload that is a list": (forged({"alg": "HS256"}, [], SECRET.reveal().encode()), "signature"),
}


@pytest.mark.parametrize(("token", "reason"), BAD.values(), ids=BAD)
def test_a_bad_token_does_not(token, reason):
    with pytest.raises(TokenRefused) as refused:
        both().verify(token)
    assert refused.value.reason == reason


def test_no_secret_means_no_hmac_and_no_keys_means_no_signatures():
    with pytest.raises(TokenRefused, match="algorithm"):
        Verifier(FakeClock(), keys=Published(RSA)).verify(hmac_token())
    with pytest.raises(TokenRefused, match="algorithm"):
        Verifier(FakeClock(), secret=SECRET).verify(signed("RS256", RSA))


def test_an_issuer_is_held_to():
    verifier = Verifier(FakeClock(), secret=SECRET, issuer="https://login.example.com")
    assert verifier.verify(hmac_token(iss="https://login.example.com"))
    for wrong in (None, "https://evil.example", ["https://login.example.com"]):
        with pytest.raises(TokenRefused, match="issuer"):
            verifier.verify(hmac_token(iss=wrong))


UNFIT = {
    "a secret": OctKey.generate_key(256).as_dict(),
    "a small RSA key": {"kty": "RSA", "n": b64(b"\xc1" * 128), "e": "AQAB"},
    "for encryption": {**RSA.as_dict(private=False), "use": "enc"},
    "to sign only": {**RSA.as_dict(private=False), "key_ops": ["sign"]},
    "for another algorithm": {**RSA.as_dict(private=False), "alg": "PS256"},
    "another curve": ECKey.generate_key("P-384").as_dict(private=False),
    "Ed448": OKPKey.generate_key("Ed448").as_dict(private=False),
    "X25519": OKPKey.generate_key("X25519").as_dict(private=False),
    "half of one": {"kty": "RSA", "n": "AQAB"},
    "numbers": {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
    "not on its curve": {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32)},
    "no key at all": {"kty": ["RSA"]},
    "text": "RSA",
}


@pytest.mark.parametrize("entry", UNFIT.values(), ids=UNFIT)
def test_unfit_keys_of_a_set_are_left_out_and_the_others_stay(entry):
    found = parse_keys(json.dumps({"keys": [entry, EC.as_dict(private=False)]}).encode())
    assert list(found) == ["EC"]
    assert len(found["EC"]) == 1


def test_a_private_part_published_by_mistake_is_not_taken_in():
    ((_, key),) = parse_keys(json.dumps({"keys": [EC.as_dict(private=True)]}).encode())["EC"]
    assert not key.is_private


def test_made_tokens_hold_for_their_time_only():
    clock = FakeClock()
    verifier = Verifier(clock, secret=SECRET)
    token = make_token(SECRET, Role.OPERATOR, now=clock.now(), ttl=60, organization="acme")
    made = verifier.verify(token)
    assert (made["role"], made["org"], made["aud"], made["sub"]) == ("operator", "acme", "sidecar", "cli")
    clock.advance(60)
    with pytest.raises(TokenRefused, match="expired"):
        verifier.verify(token)
    assert token != make_token(SECRET, Role.OPERATOR, now=clock.now(), ttl=60, organization="acme")


@pytest.mark.parametrize("ttl", [0, -1, 367 * 86400])
def test_a_token_for_ever_is_not_made(ttl):
    with pytest.raises(ConfigError):
        make_token(SECRET, Role.ADMIN, now=NOW, ttl=ttl)


CLAIMS = {
    "no role": {"role": None},
    "a made-up role": {"role": "root"},
    "no role at all by name": {"role": "none"},
    "a role that is a number": {"role": 3},
    "no organization": {"org": None},
    "an empty organization": {"org": ""},
    "a list of organizations": {"org": ["acme", "*"]},
}


class TestAuthority:
    def authority(self, **options):
        self.clock = FakeClock()
        return Authority(Verifier(self.clock, secret=SECRET, **options), self.clock)

    async def refusal(self, authority, authorization, peer="192.0.2.1"):
        with pytest.raises(Refused) as refused:
            await authority.authenticate(peer, authorization)
        return refused.value.refusal

    async def test_a_grant_says_who_what_and_where(self):
        authority = self.authority()
        assert await authority.authenticate("192.0.2.1", f"Bearer {hmac_token()}") == Grant(
            "ann", Role.VIEWER, "acme", NOW + 60
        )
        grant = await authority.authenticate("192.0.2.1", f"bearer  {hmac_token(org='*', role='admin', sub=None)}")
        assert grant == Grant("token", Role.ADMIN, None, NOW + 60)

    @pytest.mark.parametrize("changes", CLAIMS.values(), ids=CLAIMS)
    async def test_claims_that_give_nothing(self, changes):
        refusal = await self.refusal(self.authority(), f"Bearer {hmac_token(**changes)}")
        assert (refusal.status, refusal.code) == (401, "AUTH_FAILED")
        assert refusal.headers["WWW-Authenticate"].endswith('error="invalid_token"')

    @pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", hmac_token()])
    async def test_no_bearer_token_is_missing(self, header):
        refusal = await self.refusal(self.authority(), header)
        assert refusal.detail == {"reason": "missing"}

    async def test_guessing_is_bounded_and_locks_out_no_right_token(self):
        authority = self.authority()
        for n in range(FAILURES):
            assert (await self.refusal(authority, f"Bearer guess-{n}")).status == 401
        waiting = await self.refusal(authority, "Bearer one-more")
        assert (waiting.status, waiting.code, waiting.headers["Retry-After"]) == (429, "RATE_LIMIT_EXCEEDED", "61")
        assert await authority.authenticate("192.0.2.1", f"Bearer {hmac_token(sub='bob')}")
        assert (await self.refusal(authority, "Bearer x", "192.0.2.2")).status == 401

    async def test_after_the_window_one_may_try_again(self):
        authority = self.authority()
        for n in range(FAILURES):
            await self.refusal(authority, f"Bearer guess-{n}")
        self.clock.advance(61)
        assert (await self.refusal(authority, "Bearer guess")).status == 401

    async def test_a_remembered_token_still_expires(self):
        authority = self.authority()
        token = f"Bearer {hmac_token()}"
        await authority.authenticate("192.0.2.1", token)
        self.clock.advance(61)
        assert (await self.refusal(authority, token)).detail == {"reason": "expired"}

    async def test_an_unknown_key_asks_the_set_again_once(self):
        keys = Published(EC)
        authority = self.authority(keys=keys)
        assert (await self.refusal(authority, f"Bearer {signed('RS256', RSA, {'kid': 'rsa'})}")).status == 401
        assert keys.renewals == 1
        keys.keys |= Published(RSA).keys
        assert await authority.authenticate("192.0.2.1", f"Bearer {signed('RS256', RSA, {'kid': 'rsa'})}")

    async def test_tables_are_bounded(self):
        authority = self.authority()
        for n in range(1100):
            await self.refusal(authority, "Bearer x", f"192.0.{n >> 8}.{n & 255}")
        assert len(authority._failures) == 1024
