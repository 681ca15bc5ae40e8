"""Whose request it is: a client can say what he likes, and chooses nothing."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS
from sidecar.errors import Problems
from sidecar.exchange import Client
from sidecar.guards.organization import CACHED, REMEMBERED, build_organization
from tests.support.exchanges import exchange

CLIENT = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24")
PROXIED = Client("203.0.113.9", "203.0.113.9", "203.0.113.0/24", trusted=True)
NOW = 1_800_000_000.0

CLAIMS = {
    b"good.to.ken": {"org": "acme", "sub": "ann", "exp": NOW + 3600},
    b"no.org.here": {"sub": "bob", "exp": NOW + 3600},
    b"all.orgs.star": {"org": "*", "sub": "root", "exp": NOW + 3600},
    b"odd.org.name": {"org": "a b", "sub": "x" * 500, "exp": NOW + 3600},
    b"number.as.org": {"org": 7, "sub": 7, "exp": NOW + 3600},
    b"claims.to.be": {"org": "acme", "sub": "ip:203.0.113.9", "exp": NOW + 3600},
}


class Verifier:
    def __init__(self, claims=None) -> None:
        self._claims = claims or CLAIMS
        self.asked = 0

    def __call__(self, token: bytes):
        self.asked += 1
        return self._claims.get(token)


def build(sources=("token", "header", "host"), verify=None):
    problems = Problems("organizations")
    hosts = {"globex.example.com": "globex", "globex.example.com:8443": "globex-admin"}
    made = build_organization(sources, hosts, "default", problems, verify=verify or Verifier())
    assert not problems.found
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


CASES = {
    # client, fields, organization, user
    "nothing": (CLIENT, {}, "default", ""),
    "token": (CLIENT, bearer("good.to.ken"), "acme", "ann"),
    "scheme in other letters": (CLIENT, {"Authorization": "bearer good.to.ken"}, "acme", "ann"),
    "forged token": (CLIENT, bearer("forged.to.ken"), "default", ""),
    "a key of a provider": (CLIENT, bearer("sk-proj-abc"), "default", ""),
    "basic": (CLIENT, {"Authorization": "Basic good.to.ken"}, "default", ""),
    "two tokens": (CLIENT, bearer("good.to.ken, Bearer good.to.ken"), "default", ""),
    "a token without an organization": (CLIENT, bearer("no.org.here"), "default", "bob"),
    "a token for all": (CLIENT, bearer("all.orgs.star"), "default", "root"),
    "claims of the wrong type": (CLIENT, bearer("number.as.org"), "default", ""),
    "header of a client": (CLIENT, {"X_Org_ID": "acme"}, "default", ""),
    "header of a proxy": (PROXIED, {"X_Org_ID": "acme"}, "acme", ""),
    "odd header of a proxy": (PROXIED, {"X_Org_ID": "a/b"}, "default", ""),
    "star from a proxy": (PROXIED, {"X_Org_ID": "*"}, "default", ""),
    "token before header": (PROXIED, {"X_Org_ID": "globex"} | bearer("good.to.ken"), "acme", "ann"),
    "header where the token says nothing": (PROXIED, {"X_Org_ID": "globex"} | bearer("no.org.here"), "globex", "bob"),
    "host": (CLIENT, {"Host": "globex.example.com"}, "globex", ""),
    "host in capitals, with a port": (CLIENT, {"Host": "GLOBEX.example.com:8080"}, "globex", ""),
    "host with its own port": (CLIENT, {"Host": "globex.example.com:8443"}, "globex-admin", ""),
    "another host": (CLIENT, {"Host": "evil.globex.example.com"}, "default", ""),
    "header before host": (PROXIED, {"Host": "globex.example.com", "X_Org_ID": "acme"}, "acme", ""),
}


@pytest.mark.parametrize(("client", "fields", "organization", "user"), CASES.values(), ids=CASES)
def test_whose_request(client, fields, organization, user) -> None:
    asked = exchange(client=client, **fields)
    assert build().check(asked) is PASS
    assert (asked.organization, asked.user) == (organization, user)


def test_long_and_odd_subjects_become_bounded_keys() -> None:
    for token in ("odd.org.name", "claims.to.be"):
        asked = exchange(client=CLIENT, **bearer(token))
        build().check(asked)
        assert asked.user.startswith("sha256:")
        assert len(asked.user) == 71


def test_only_the_named_sources_count() -> None:
    asked = exchange(client=PROXIED, X_Org_ID="acme", Host="globex.example.com", **bearer("good.to.ken"))
    build(["host"]).check(asked)
    assert (asked.organization, asked.user) == ("globex", "")


def test_without_a_verifier_no_token_counts() -> None:
    made = build_organization(["token"], {}, "default", Problems())
    asked = exchange(client=CLIENT, **bearer("good.to.ken"))
    made.check(asked)
    assert (asked.organization, asked.user) == ("default", "")


def test_a_token_is_believed_for_a_while_and_never_beyond_its_end() -> None:
    verify = Verifier({b"good.to.ken": {"org": "acme", "exp": NOW + REMEMBERED + 30}})
    made = build(verify=verify)

    def ask(at: float) -> str:
        asked = exchange(client=CLIENT, now=NOW + at, **bearer("good.to.ken"))
        made.check(asked)
        return asked.organization

    assert [ask(0), ask(1), ask(REMEMBERED - 1)] == ["acme"] * 3
    assert verify.asked == 1
    assert [ask(REMEMBERED), ask(REMEMBERED + 29)] == ["acme"] * 2
    assert verify.asked == 2
    assert ask(REMEMBERED + 31) == "default"


def test_a_flood_of_tokens_stays_bounded_and_keeps_none_of_them() -> None:
    made = build()
    for number in range(CACHED // 300 + 10):
        made.check(exchange(client=CLIENT, **bearer(f"a.b.{number}")))
    assert 0 < len(made._tokens) <= CACHED // 300
    assert all(len(key) == 32 for key in made._tokens)


BAD = {
    "source": ({"sources": ["cookie"]}, "organizations.from[0]"),
    "host": ({"hosts": {"https://x": "acme"}}, "organizations.hosts.https://x"),
    "organization": ({"hosts": {"x.com": "a b"}}, "organizations.hosts.x.com"),
    "default": ({"default": "*"}, "organizations.default"),
}


@pytest.mark.parametrize(("changes", "path"), BAD.values(), ids=BAD)
def test_what_the_compiler_refuses(changes, path) -> None:
    problems = Problems("organizations")
    build_organization(**({"sources": [], "hosts": {}, "default": "default"} | changes), problems=problems)
    assert [problem.path for problem in problems.found] == [path]
