"""The catalogue: how each provider's key is written, what it looks like, where it may go."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import Any

import pytest

from sidecar.errors import ConfigError
from sidecar.vault.allowed_hosts import allows, parse_hosts
from sidecar.vault.environment import read
from sidecar.vault.errors import Invalid
from sidecar.vault.providers import Catalogue, build

CATALOGUE = Catalogue.load()
BASIC = "Basic " + base64.b64encode(b"agent@example.com/token:abcdefghij0123456789").decode()

WRITTEN = [
    pytest.param("openai", "sk-proj-abcDEF_123-4567890", "Authorization", "Bearer sk-proj-abcDEF_123-4567890"),
    pytest.param("anthropic", "sk-ant-api03-abcdefgh0123456", "x-api-key", "sk-ant-api03-abcdefgh0123456"),
    pytest.param("azure-openai", "0123456789abcdef" * 2, "api-key", "0123456789abcdef" * 2),
    pytest.param("google", "AIza" + "x" * 35, "x-goog-api-key", "AIza" + "x" * 35),
    pytest.param("mistral", "a1B2" * 8, "Authorization", "Bearer " + "a1B2" * 8),
    pytest.param("groq", "gsk_" + "x" * 52, "Authorization", "Bearer gsk_" + "x" * 52),
    pytest.param("openrouter", "sk-or-v1-" + "0a" * 32, "Authorization", "Bearer sk-or-v1-" + "0a" * 32),
    pytest.param("stripe", "rk_live_0123456789abcdef", "Authorization", "Bearer rk_live_0123456789abcdef"),
    pytest.param("zendesk", "agent@example.com/token:abcdefghij0123456789", "Authorization", BASIC),
    pytest.param("intercom", "dG9rOjAxMjM0NTY3ODk=", "Authorization", "Bearer dG9rOjAxMjM0NTY3ODk="),
]


@pytest.mark.parametrize(("name", "key", "header", "text"), WRITTEN, ids=lambda value: str(value)[:12])
def test_a_key_is_written_as_its_provider_wants_it(name: str, key: str, header: str, text: str) -> None:
    provider = CATALOGUE.get(name)
    provider.check(key)
    assert provider.write_header(key) == (header, text)


def test_every_provider_is_in_the_table() -> None:
    assert [provider.name for provider in CATALOGUE] == [param.values[0] for param in WRITTEN]
    assert all(provider.test and provider.environment.get("key") for provider in CATALOGUE)


WRONG = [
    pytest.param("openai", "", id="empty"),
    pytest.param("openai", "sk-short", id="short"),
    pytest.param("openai", "sk-ant-api03-abcdefgh0123456", id="anthropic's at openai"),
    pytest.param("openai", "sk-or-v1-" + "0a" * 32, id="openrouter's at openai"),
    pytest.param("openai", "Bearer sk-proj-abcDEF_123-4567890", id="with its scheme"),
    pytest.param("openai", "sk-proj-abcDEF_123-4567890\r\nX: y", id="a header in it"),
    pytest.param("openai", "sk-proj-abcDEF_123-456789é", id="not ASCII"),
    pytest.param("stripe", "pk_live_0123456789abcdef", id="a publishable key"),
    pytest.param("anthropic", "sk-proj-abcDEF_123-4567890", id="openai's at anthropic"),
    pytest.param("intercom", "x" * 5000, id="far too long"),
]


@pytest.mark.parametrize(("name", "key"), WRONG)
def test_what_is_no_key_is_refused_without_repeating_it(name: str, key: str) -> None:
    with pytest.raises(Invalid) as refused:
        CATALOGUE.get(name).check(key)
    assert len(key) < 4 or key not in str(refused.value)


CUSTOM: dict[str, Any] = {"hosts": ["api.example.com"]}
BROKEN = [
    pytest.param("Bad Name", CUSTOM, "a name is", id="name"),
    pytest.param("x", {}, "hosts", id="no hosts"),
    pytest.param("x", {"hosts": ["*"]}, "hosts", id="any host"),
    pytest.param("x", {**CUSTOM, "header": "Host"}, "header", id="a framing header"),
    pytest.param("x", {**CUSTOM, "header": "A: b"}, "header", id="a header with a colon"),
    pytest.param("x", {**CUSTOM, "scheme": "Digest"}, "scheme", id="scheme"),
    pytest.param("x", {**CUSTOM, "shape": "(?=a)"}, "shape", id="an expression that RE2 refuses"),
    pytest.param("x", {**CUSTOM, "shape": "("}, "shape", id="no expression"),
    pytest.param("x", {**CUSTOM, "url": "http://api.example.com"}, "plain http", id="plain http"),
    pytest.param("x", {**CUSTOM, "url": "ftp://api.example.com"}, "url", id="another protocol"),
    pytest.param("x", {**CUSTOM, "test": {"path": "v1"}}, "test.path", id="a relative path"),
    pytest.param("x", {**CUSTOM, "test": {"path": "/a b"}}, "test.path", id="a blank in the path"),
    pytest.param("x", {**CUSTOM, "test": {"paht": "/"}}, "unknown key", id="a misspelled key"),
    pytest.param("x", {**CUSTOM, "more": 1}, "unknown key", id="an unknown key"),
]


@pytest.mark.parametrize(("name", "entry", "says"), BROKEN)
def test_a_provider_that_makes_no_sense_is_refused(
    name: str, entry: dict[str, Any], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=says):
        build(name, entry)
    assert capfd.readouterr() == ("", "")


def test_a_policy_may_replace_a_provider() -> None:
    replaced = Catalogue.load({"openai": {"header": "X-Key", "scheme": "none", "hosts": ["gateway.example"]}})
    assert replaced.get("openai").write_header("key") == ("X-Key", "key")
    assert "openai" in replaced
    assert "nobody" not in replaced


HOSTS = [
    pytest.param(["API.Example.com"], ("api.example.com",), id="case"),
    pytest.param(["a.example:443"], ("a.example",), id="the usual port"),
    pytest.param(["a.example:8443", "a.example"], ("a.example:8443", "a.example"), id="two"),
    pytest.param(["a.example", "A.EXAMPLE:443"], ("a.example",), id="twice the same"),
    pytest.param(["*.example.com"], ("*.example.com",), id="one label"),
    pytest.param(
        ["localhost:1", "127.0.0.1:2", "[::1]:3", "[::1]"],
        ("localhost:1", "127.0.0.1:2", "[::1]:3", "[::1]"),
        id="loopback",
    ),
]


@pytest.mark.parametrize(("texts", "hosts"), HOSTS)
def test_hosts_have_one_spelling(texts: list[str], hosts: tuple[str, ...]) -> None:
    assert parse_hosts(texts) == hosts


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "*.com", "*.*.example.com", "a..b", "a.example:", "a.example:0", "a.example:99999", "a.example:x",
     "https://a.example", "a.example/x", "a b", "user@a.example", "a.example#", "-a.example", "x" * 260, "a\nb", "é.example"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_hosts([text])


ALLOWED = [
    (("api.example.com",), "api.example.com", 443, True),
    (("api.example.com",), "API.EXAMPLE.COM", 443, True),
    (("api.example.com",), "api.example.com.", 443, True),
    (("api.example.com",), "api.example.com", 8443, False),
    (("api.example.com:8443",), "api.example.com", 8443, True),
    (("api.example.com:8443",), "api.example.com", 443, False),
    (("api.example.com",), "xapi.example.com", 443, False),
    (("api.example.com",), "api.example.com.evil.example", 443, False),
    (("*.example.com",), "acme.example.com", 443, True),
    (("*.example.com",), "example.com", 443, False),
    (("*.example.com",), "a.b.example.com", 443, False),
    (("*.example.com",), "acme.example.com", 8443, False),
    (("*.example.com:8443",), "acme.example.com", 8443, True),
    (("*.example.com",), "*.example.com", 443, False),
    (("*.example.com",), ".example.com", 443, False),
    (("[::1]:8443",), "::1", 8443, True),
    (("[::1]:8443",), "[::1]", 8443, True),
    ((), "api.example.com", 443, False),
]


@pytest.mark.parametrize(("hosts", "host", "port", "expected"), ALLOWED)
def test_a_key_goes_to_its_own_hosts_only(hosts: tuple[str, ...], host: str, port: int, expected: bool) -> None:
    assert allows(hosts, host, port) is expected


ENVIRONMENTS = [
    pytest.param("openai", {"OPENAI_API_KEY": " k "}, ("k", None, ""), id="plain"),
    pytest.param("openai", {"OPENAI_API_KEY": ""}, None, id="empty"),
    pytest.param("openai", {}, None, id="not set"),
    pytest.param(
        "zendesk",
        {"ZENDESK_API_TOKEN": "t", "ZENDESK_EMAIL": "a@b.c", "ZENDESK_SUBDOMAIN": "acme"},
        ("a@b.c/token:t", ("acme.zendesk.com",), ""),
        id="user and host",
    ),
    pytest.param(
        "zendesk",
        {"ZENDESK_API_TOKEN": "t"},
        ("t", None, "without ZENDESK_EMAIL it is sent as a Bearer token"),
        id="a token alone",
    ),
    pytest.param(
        "azure-openai",
        {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://acme.openai.azure.com/"},
        ("k", ("acme.openai.azure.com",), ""),
        id="host of a URL",
    ),
]


@pytest.mark.parametrize(("name", "variables", "expected"), ENVIRONMENTS)
def test_the_environment_is_read(name: str, variables: dict[str, str], expected: tuple | None) -> None:
    found = read(CATALOGUE.get(name), variables)
    assert (found and (found.value.reveal(), found.hosts, found.note)) == expected


def test_a_key_file_that_cannot_be_read_is_said() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY_FILE"):
        read(CATALOGUE.get("openai"), {"OPENAI_API_KEY_FILE": "/nowhere/at/all"})


def test_the_catalogue_needs_no_sql() -> None:
    program = "import sys; import sidecar.vault.providers as p; p.Catalogue.load(); print('sqlite3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
