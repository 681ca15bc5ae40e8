"""What keys of well-known services look like. Written from their public formats.

A rule begins with a literal (what a first, cheap search looks for), goes on with characters of one
class, and may ask that the whole looks random. Names are what a policy's `redaction.patterns` lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WORD: Final = rb"[A-Za-z0-9_-]"
ALNUM: Final = rb"[A-Za-z0-9]"
HEX: Final = rb"[A-Fa-f0-9]"
BASE64: Final = rb"[A-Za-z0-9+/=_-]"

TEXT_IN_BASE64: Final = rb"[I-Za-f][C-HS-Xi-ny-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/]"
"""Three printable characters."""


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """One shape.

    starts   literals, one of which begins it
    tail     the pattern of what follows
    run      the class of characters that `tail` is made of: while they go on, more text may decide
    longest  the most bytes that a match is waited for
    random   what follows must mix letters and digits: the literal alone is a word of ordinary text
    until    what ends it, whatever may follow
    least    characters of the run that every match has
    bounded  a letter or digit right before or after means that this is part of something else
    """

    name: str
    starts: tuple[bytes, ...]
    tail: bytes
    run: bytes
    longest: int = 300
    random: bool = False
    bounded: bool = True
    until: bytes = b""
    least: int = 7


def _exactly(name: str, starts: str, count: int, run: bytes = ALNUM, *, random: bool = False) -> KeyFormat:
    return KeyFormat(name, _starts(starts), run + b"{%d}" % count, run, count + 40, random, least=count)


def _at_least(name: str, starts: str, count: int, run: bytes = WORD, *, random: bool = False) -> KeyFormat:
    return KeyFormat(name, _starts(starts), run + b"{%d,}" % count, run, 512, random, least=count)


def _starts(literals: str) -> tuple[bytes, ...]:
    return tuple(literals.encode().split())


_PEM: Final = tuple(
    b"-----BEGIN %sPRIVATE KEY" % kind
    for kind in (b"", b"RSA ", b"EC ", b"DSA ", b"OPENSSH ", b"ENCRYPTED ", b"PGP ", b"ANY ")
)

RULES: Final[tuple[KeyFormat, ...]] = (
    _at_least("openai", "sk-proj- sk-svcacct- sk-admin- sk-None-", 20),
    _at_least("openai", "sk-", 20, random=True),
    _at_least("openai", "sess-", 32, ALNUM, random=True),
    _at_least("anthropic", "sk-ant-", 20),
    _at_least("openrouter", "sk-or-v1-", 32),
    _at_least("groq", "gsk_", 40, ALNUM),
    _at_least("xai", "xai-", 60, ALNUM),
    _at_least("perplexity", "pplx-", 32, ALNUM),
    _at_least("replicate", "r8_", 30, ALNUM),
    _exactly("google", "AIza", 35, WORD),
    _exactly("google", "GOCSPX-", 28, WORD),
    KeyFormat("google", (b"ya29.",), rb"[\w-]{20,}", rb"[\w.-]", 512),
    _exactly("aws", "AKIA ASIA ABIA ACCA", 16, rb"[A-Z0-9]"),
    _at_least("aws", "ABSK", 100, BASE64),
    _at_least("aws", "bedrock-api-key-", 20, BASE64),
    _at_least("stripe", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", 10, ALNUM),
    _at_least("stripe", "whsec_", 24, BASE64),
    _at_least("github", "ghp_ gho_ ghu_ ghs_ ghr_", 36, ALNUM),
    _at_least("github", "github_pat_", 36, rb"\w"),
    KeyFormat("gitlab",
         _starts("glpat- gldt- glft- glsoat- glrt- glcbt- glffct- glimt- glagent- glptt- gloas- GR1348941"),
         rb"[\w-]{15,}(?:\.[\w-]{6,}){0,3}", rb"[\w.-]", 400),
    _at_least("slack", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xoxc- xoxd- xapp- xoxe.xoxb- xoxe.xoxp-", 10,
         rb"[A-Za-z0-9._%-]"),
    KeyFormat("slack", (b"hooks.slack.com/",), rb"(?:services|workflows|triggers)/[\w+/-]{30,}", rb"[\w+/.-]"),
    KeyFormat("jwt", (b"ey",), rb"[A-Za-z0-9_-]{15,}\.ey[A-Za-z0-9_/\\-]{15,}(?:\.[A-Za-z0-9_/\\-]*={0,2})?",
         rb"[A-Za-z0-9_/\\.=-]", 8192),
    _exactly("twilio", "SK", 32, HEX),
    KeyFormat("sendgrid", (b"SG.",), rb"[\w=-]{16,32}\.[\w=-]{16,64}", rb"[\w.=-]"),
    KeyFormat("azure", (b"Q~",), rb"[\w~.-]{31,34}", rb"[\w~.-]", random=True, bounded=False),
    KeyFormat("azure", (b"AccountKey=", b"SharedAccessKey="), rb"[A-Za-z0-9+/]{40,}={0,2}", BASE64),
    _exactly("npm", "npm_", 36),
    _at_least("pypi", "pypi-AgE", 50),
    _exactly("rubygems", "rubygems_", 48, HEX),
    _at_least("huggingface", "hf_ api_org_", 30, ALNUM),
    KeyFormat("airtable", (b"pat",), rb"[A-Za-z0-9]{14}\.[a-f0-9]{64}", rb"[A-Za-z0-9.]", 120),
    KeyFormat("url_password", (b"://",), rb"[\w.~%+-]{0,100}:[^\s/@\"'\\<>]{4,200}@", rb"[^\s/\"'\\<>]", 300,
         bounded=False),
    KeyFormat("authorization", (b"Basic ", b"basic "), rb"(?:" + TEXT_IN_BASE64 + rb"){3,}[A-Za-z0-9+/]{0,3}={0,2}",
         BASE64, 1024, least=12),
    KeyFormat("authorization", (b"Bearer ", b"bearer "), rb"[\w.~+/-]{20,}={0,2}", rb"[\w.~+/=-]", 4096, random=True,
         least=20),
    _at_least("mailgun", "key-", 32, HEX),
    _at_least("mailgun", "pubkey-", 32, HEX),
    _at_least("digitalocean", "dop_v1_ doo_v1_ dor_v1_", 64, HEX),
    _at_least("databricks", "dapi", 32, rb"[a-f0-9-]"),
    _at_least("shopify", "shpat_ shpca_ shppa_ shpss_", 32, HEX),
    KeyFormat("square", (b"EAAA",), rb"[\w+=-]{22,60}", rb"[\w+=-]", 100, random=True),
    _at_least("square", "sq0atp- sq0csp-", 22),
    _at_least("facebook", "EAAM EAAC EAAB", 80, ALNUM),
    _at_least("atlassian", "ATATT3", 80, BASE64),
    _at_least("notion", "ntn_ secret_", 40, ALNUM, random=True),
    _at_least("linear", "lin_api_ lin_oauth_", 40, ALNUM),
    _at_least("postman", "PMAK-", 40, rb"[a-f0-9-]"),
    _at_least("newrelic", "NRAK- NRII- NRJS- NRRA-", 19),
    _at_least("grafana", "glc_ glsa_ eyJrIjoi", 32, BASE64),
    _at_least("sentry", "sntrys_ sntryu_", 40, BASE64),
    _at_least("hashicorp", "hvs. hvb. s.hvs.", 24),
    KeyFormat("hashicorp", (b".atlasv1.",), rb"[\w=-]{50,}", rb"[\w=-]", bounded=False),
    _at_least("doppler", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", 32, rb"[A-Za-z0-9._-]"),
    _at_least("planetscale", "pscale_tkn_ pscale_oauth_ pscale_pw_", 30, rb"[\w=.-]"),
    _at_least("flyio", "fo1_ fm1_ fm1a_ fm1r_ fm2_ FlyV1", 40, rb"[\w+/= -]"),
    _at_least("pulumi", "pul-", 40, HEX),
    _at_least("prefect", "pnu_ pnb_", 36, ALNUM),
    _at_least("readme", "rdme_", 60, ALNUM),
    _at_least("clojars", "CLOJARS_", 60, ALNUM),
    _at_least("alibaba", "LTAI", 20, ALNUM, random=True),
    _at_least("artifactory", "AKCp cmVmd", 50, ALNUM),
    _exactly("octopus", "API-", 26, rb"[A-Z0-9]", random=True),
    _at_least("openshift", "sha256~", 43),
    KeyFormat("webhook", (b".webhook.office.com/",), rb"webhookb2/[\w@-]{36,}/IncomingWebhook/[\w/-]{30,}",
         rb"[\w@/-]", bounded=False),
    KeyFormat("webhook", (b"discord.com/api/webhooks/", b"discordapp.com/api/webhooks/"), rb"\d{15,}/[\w-]{50,}",
         rb"[\w/-]"),
    KeyFormat("onepassword", (b"A3-",), rb"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
         rb"[A-Z0-9-]", 80),
    _at_least("onepassword", "ops_eyJ", 100, BASE64),
    _at_least("age", "AGE-SECRET-KEY-1", 50, rb"[A-Z0-9]"),
    _at_least("cloud", "duffel_live_ duffel_test_ FLWSECK_TEST- FLWPUBK_TEST- FLWSECK- shippo_live_ shippo_test_",
         12, rb"[\w=-]"),
    _at_least("cloud", "EZTK EZAK", 50, ALNUM),
    _at_least("cloud", "sm_aat_ sm_pat_ sm_sat_", 16, ALNUM),
    _at_least("cloud", "sgp_", 40, ALNUM),
    _at_least("cloud", "tk-us- ico- fio-u- p8e-", 32, rb"[\w=-]", random=True),
    _at_least("cloud", "s-s4t2ud- s-s4t2af-", 60, HEX),
    _at_least("cloud", "dt0c01.", 80, rb"[A-Z0-9.]"),
    _at_least("cloud", "sqp_ squ_ sqa_ tfp_", 40, rb"[\w=.-]", random=True),
    _at_least("cloud", "phc_ phx_ nfp_ rnd_ sbp_ CFPAT- dckr_pat_", 27, random=True),
    _exactly("cloud", "4b1d", 38),
    _at_least("cloud", "AQVN t1.9eu t1.7eu YCAJ", 34, rb"[\w.=-]"),
    KeyFormat("cloud", (b"BUNDLE_ENTERPRISE__CONTRIBSYS__COM", b"BUNDLE_GEMS__CONTRIBSYS__COM"),
         rb"\w{0,20}[\s\"'\\=>:,|?]{1,16}[a-f0-9]{8}:[a-f0-9]{8}", rb"[\w\s\"'\\=>:,|?]", 120),
    KeyFormat("cloud", (b"authress_", b"sc_", b"ext_", b"scauth_"),
         rb"(?i:[a-z0-9]{5,30}\.[a-z0-9]{4,6}\.acc[_-][a-z0-9-]{10,32}\.[a-z0-9+/_=-]{30,120})", rb"[\w.+/=-]"),
    KeyFormat("private_key", _PEM, rb"[^\"']{40,}",
         rb"[A-Za-z0-9+/=\\\s:,.-]", 16 * 1024, bounded=False, until=rb"-----END[A-Z0-9 ]{0,40}-----"),
    _at_least("handle", "phk_", 16),
)  # fmt: skip
