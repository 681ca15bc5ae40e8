"""Guards that a policy names: found, configured, placed; what is wrong with them has its line."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from pydantic import Field

from sidecar.errors import PolicyError
from sidecar.extend import Block, Many, Request, Section, Verdict
from sidecar.policy import custom_guards
from sidecar.policy.compile import Compiled, compile_policy
from sidecar.policy.dry_run import isolated_services
from tests.support.policies import BASE, read


class Settings(Section):
    """Settings of the guard under test."""

    words: Many[str] = Field(description="words", examples=[["a"]])


class Words:
    """Refuses texts that hold a word."""

    description = "words"
    stage = "message"
    Settings = Settings

    def __init__(self, settings: Settings) -> None:
        if "" in settings.words:
            raise ValueError("words holds an empty one")
        if "!" in settings.words:
            raise RuntimeError("secret")
        self._words = settings.words

    def check(self, request: Request) -> Verdict:
        return Block("word") if any(word in text for word in self._words for text in request.texts) else None


class Heads(Words):
    """The same of stage head."""

    stage = "head"


class NoStage(Words):
    """A guard of a stage that there is not."""

    stage = "body"


ENTRIES = {"words": "Words", "heads": "Heads", "no-stage": "NoStage", "missing": "Nothing"}


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install guards of this file as a package would."""
    found = EntryPoints(EntryPoint(name, f"{__name__}:{value}", custom_guards.GROUP) for name, value in ENTRIES.items())
    monkeypatch.setattr(custom_guards, "entry_points", found.select)
    return


CHAT = "routes:\n  - { name: chat, match: { path: /chat, methods: [POST] }, message: { fields: [$.message] } }\n"


def compiled(text: str) -> Compiled:
    return compile_policy(read(BASE + CHAT + text), isolated_services())


def names(made: Compiled, path: str) -> tuple[list[str], list[str]]:
    route = made.public.routes.find("POST", path)
    assert route is not None
    return (
        [step.guard.name for step in route.steps if step.guard.name.startswith("guards.")],
        [step.guard.name for step in route.body_steps if step.guard.name.startswith("guards.")],
    )


def test_each_stands_in_its_stage_in_the_order_of_the_policy() -> None:
    made = compiled("guards: { heads: { settings: { words: [a] } }, words: { settings: { words: [a] } } }")
    assert names(made, "/chat") == (["guards.heads"], ["guards.words"])
    assert names(made, "/other") == (["guards.heads"], [])


def test_it_is_asked_about_its_routes_alone() -> None:
    made = compiled("guards: { heads: { settings: { words: [a] }, routes: [chat] } }")
    assert names(made, "/chat") == (["guards.heads"], [])
    assert names(made, "/other") == ([], [])


@pytest.mark.parametrize(
    ("text", "enforces"),
    [("", True), (", observe: true", False)],
    ids=["enforced", "observed"],
)
def test_it_may_only_observe(text: str, enforces: bool) -> None:
    route = compiled(f"guards: {{ heads: {{ settings: {{ words: [a] }}{text} }} }}").public.routes.find("GET", "/")
    assert route is not None
    assert [step.enforce for step in route.steps if step.guard.name == "guards.heads"] == [enforces]


def test_mode_observe_holds_for_it_too() -> None:
    route = compiled("mode: observe\nguards: { heads: { settings: { words: [a] } } }").public.routes.find("GET", "/")
    assert route is not None
    assert [step.enforce for step in route.steps if step.guard.name == "guards.heads"] == [False]


WRONG = {
    "not installed": (
        "guards: { word: {} }",
        (
            "5:17: guards.word: is not a guard that is installed here; install its package; "
            "there are words, heads, no-stage, missing"
        ),
    ),
    "cannot be loaded": (
        "guards: { missing: {} }",
        "5:20: guards.missing: cannot be loaded (AttributeError); see docs/extending.md; it comes from ",
    ),
    "another stage": (
        "guards: { no-stage: {} }",
        "5:21: guards.no-stage: has no stage of head, message; see docs/extending.md; it comes from ",
    ),
    "a missing setting": (
        "guards: { words: { settings: {} } }",
        "5:30: guards.words.settings.words: is missing; write words: [a]",
    ),
    "an unknown setting": (
        "guards: { words: { settings: { words: [a], word: b } } }",
        '5:50: guards.words.settings.word: is not a key that is known here; did you mean "words"?',
    ),
    "a setting of another kind": (
        "guards: { words: { settings: { words: a } } }",
        "5:39: guards.words.settings.words: must be a list; write `[one, two]`, or each item in a line after `- `",
    ),
    "settings that do not fit": (
        'guards: { words: { settings: { words: [""] } } }',
        "5:20: guards.words.settings: words holds an empty one; see the guard's own documentation",
    ),
    "a guard that fails": (
        'guards: { words: { settings: { words: ["!"] } } }',
        "5:20: guards.words.settings: the guard cannot be made (RuntimeError); see the guard's own documentation",
    ),
    "an unknown route": (
        "guards: { words: { settings: { words: [a] }, routes: [caht] } }",
        '5:55: guards.words.routes[0]: "caht" is no route of this policy; write the name of one',
    ),
    "an unknown key of the section": (
        "guards: { words: { setings: {} } }",
        '5:20: guards.words.setings: is not a key that is known here; did you mean "settings"?',
    ),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_has_its_line(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as refused:
        compile_policy_of(text)
    assert said.strip() in [line.removeprefix("P:").strip() for line in refused.value.lines()]


def compile_policy_of(text: str) -> Compiled:
    from sidecar.policy.document.read import draft_policy

    return compile_policy(draft_policy(BASE + CHAT + text, {}, name="P"), isolated_services())


def test_installed_lists_what_works_and_says_what_does_not() -> None:
    assert {each.name: each.problem for each in custom_guards.installed()} == {
        "heads": "",
        "missing": "cannot be loaded (AttributeError)",
        "no-stage": "has no stage of head, message",
        "words": "",
    }
