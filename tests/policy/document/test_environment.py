"""What the environment says in place of the policy, and how it is told where a value came from."""

from __future__ import annotations

import pytest

from tests.support.policies import BASE, read, said


def limits(text: str, **environ: str) -> list[tuple[str, str, int, float]]:
    schema = read(BASE + text, **environ).schema
    return [(limit.name, limit.per, limit.limit, limit.window) for limit in schema.rate_limits]


def test_origins_take_the_place_of_the_list() -> None:
    policy = read(
        BASE + "cors: { allowed_origins: [https://a.example] }",
        ALLOWED_ORIGINS=" https://b.example,https://c.example, ",
    )
    assert policy.schema.cors.allowed_origins == ("https://b.example", "https://c.example")
    assert policy.origin("cors.allowed_origins") == "environment:ALLOWED_ORIGINS"
    assert policy.origin("cors.allowed_origins[1]") == "environment:ALLOWED_ORIGINS"
    assert policy.origin("cors.max_age") == "default"
    assert policy.origin("backend.url") == "P:2"


@pytest.mark.parametrize(
    ("text", "environ", "meant"),
    [
        (
            "",
            {"MAX_REQUESTS_PER_MINUTE": "7", "MAX_REQUESTS_PER_HOUR": "70"},
            [("ip-minute", "ip", 7, 60), ("ip-hour", "ip", 70, 3600), ("ip-all", "ip", 3000, 60),
             ("org-hour", "organization", 1000, 3600)],
        ),
        (
            "rate_limits: [{ name: a, per: ip, limit: 1, window: 60s }, { name: b, per: route, limit: 1, window: 1m }]",
            {"MAX_REQUESTS_PER_MINUTE": "7"},
            [("a", "ip", 7, 60), ("b", "route", 1, 60)],
        ),
        (
            "rate_limits: [{ name: a, per: ip, limit: 1, window: 1m }, { name: b, per: ip, limit: 1, window: 1m }]",
            {"MAX_REQUESTS_PER_MINUTE": "7"},
            [("a", "ip", 7, 60), ("b", "ip", 7, 60)],
        ),
        ("rate_limits: []", {"MAX_REQUESTS_PER_HOUR": "7"}, [("max-requests-per-hour", "ip", 7, 3600)]),
        ("rate_limits: []", {"MAX_REQUESTS_PER_HOUR": "", "MAX_REQUESTS_PER_MINUTE": " "}, []),
    ],
    ids=["defaults", "the one of that window", "all of that window", "none of that window", "empty is unset"],
)  # fmt: skip
def test_limits(text: str, environ: dict[str, str], meant: list[tuple[str, str, int, float]]) -> None:
    assert limits(text, **environ) == meant


def test_a_limit_without_a_number_gets_one() -> None:
    assert limits("rate_limits: [{ name: a, per: ip, window: 1m }]", MAX_REQUESTS_PER_MINUTE="9") == [
        ("a", "ip", 9, 60)
    ]


@pytest.mark.parametrize(("hours", "seconds"), [("24", 86400), ("0.5", 1800), ("1", 3600)])
def test_session_age(hours: str, seconds: float) -> None:
    policy = read(BASE, SESSION_MAX_AGE_HOURS=hours)
    assert policy.schema.sessions.max_age == seconds
    assert policy.origin("sessions.max_age") == "environment:SESSION_MAX_AGE_HOURS"


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("ALLOWED_ORIGINS", ",", "names no origin; write https://one.example,https://two.example"),
        (
            "ALLOWED_ORIGINS",
            "https://a.example,\x07",
            "is not an origin; write scheme and host, like https://chat.example.com",
        ),
        ("MAX_REQUESTS_PER_MINUTE", "many", "is not a whole number; write one like 60"),
        ("MAX_REQUESTS_PER_MINUTE", "-5", "is not a whole number; write one like 60"),
        ("MAX_REQUESTS_PER_MINUTE", "0", "is out of range; write 1 to 1000000000"),
        ("MAX_REQUESTS_PER_HOUR", "9" * 20, "is not a whole number; write one like 60"),
        ("MAX_REQUESTS_PER_HOUR", "٣", "is not a whole number; write one like 60"),
        ("SESSION_MAX_AGE_HOURS", "1d", "is not a number of hours; write one like 24"),
        ("SESSION_MAX_AGE_HOURS", "0", "is out of range (0h); write 1s to 365d"),
    ],
)
def test_bad_values_are_problems_of_the_variable(name: str, value: str, what: str) -> None:
    assert said(BASE, **{name: value}) == [f"environment:{name}: {what}"]


def test_bad_values_are_told_with_all_other_problems() -> None:
    assert said(BASE + "mode: x\n", MAX_REQUESTS_PER_MINUTE="x", SESSION_MAX_AGE_HOURS="0") == [
        "environment:MAX_REQUESTS_PER_MINUTE: is not a whole number; write one like 60",
        "environment:SESSION_MAX_AGE_HOURS: is out of range (0h); write 1s to 365d",
        "P:3:7: mode: is not known here; write enforce or observe",
    ]


@pytest.mark.parametrize(
    "text", ["cors: []", "cors: 5", "rate_limits: { a: b }", "rate_limits: [1, [2]]", "sessions: x"]
)
def test_a_policy_that_is_wrong_there_is_told_and_does_not_trip(text: str) -> None:
    environ = {"ALLOWED_ORIGINS": "https://a.example", "MAX_REQUESTS_PER_MINUTE": "5", "SESSION_MAX_AGE_HOURS": "5"}
    assert said(BASE + text, **environ)


def test_the_digest_covers_what_the_environment_gave() -> None:
    plain, given, other = read(BASE), read(BASE, MAX_REQUESTS_PER_HOUR="5"), read(BASE, MAX_REQUESTS_PER_HOUR="6")
    assert len({plain.digest, given.digest, other.digest}) == 3
    assert plain.text_digest == given.text_digest == other.text_digest
    assert read(BASE, UNRELATED="x").digest == plain.digest


def test_a_problem_that_a_builder_finds_is_one_of_the_variable() -> None:
    from sidecar.errors import Problem

    policy = read(BASE, ALLOWED_ORIGINS="https://*.com")
    (located,) = policy.locate([Problem("cors.allowed_origins[0]", "is a wildcard over a public suffix")])
    assert str(located) == "environment:ALLOWED_ORIGINS: is a wildcard over a public suffix"
