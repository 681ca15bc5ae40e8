"""Programs that are refused by their User-Agent."""

from __future__ import annotations

import pytest

from sidecar.decision import PASS
from sidecar.errors import Problems
from sidecar.guards.user_agent import DENIED, build_user_agent
from tests.support.exchanges import exchange
from tests.support.policies import BASE, read

CASES = {
    "a crawler, with its version": ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", DENIED),
    "in capitals": ("SQLMAP/1.8", DENIED),
    "a browser": ("Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0 Safari/537.36", PASS),
    "part of an entry": ("GPT", PASS),
    "empty": ("", PASS),
}


@pytest.mark.parametrize(("agent", "decision"), CASES.values(), ids=CASES)
def test_programs_by_their_name(agent, decision) -> None:
    guard = build_user_agent(["GPTBot", "sqlmap"], Problems())
    assert guard is not None
    assert guard.check(exchange(**{"User-Agent": agent})) == decision


def test_a_request_without_the_header_passes() -> None:
    guard = build_user_agent(["GPTBot"], Problems())
    assert guard is not None
    assert guard.check(exchange()) == PASS


def test_no_entries_no_guard() -> None:
    assert build_user_agent([], Problems()) is None


def test_entries_that_would_refuse_browsers_are_problems() -> None:
    problems = Problems("requests.denied_user_agents")
    build_user_agent(["GPTBot", "Mo", "böt"], problems)
    assert [problem.path for problem in problems.found] == [
        "requests.denied_user_agents[1]",
        "requests.denied_user_agents[2]",
    ]


def test_the_policy_has_the_key() -> None:
    policy = read(BASE + "requests: { denied_user_agents: [GPTBot] }\n")
    assert policy.schema.requests.denied_user_agents == ("GPTBot",)
