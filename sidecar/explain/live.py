"""Explaining by the policy in force, and by a policy alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from sidecar.admin.parts import Question
from sidecar.explain.asking import Asking, HasKey
from sidecar.explain.words import Explanation
from sidecar.policy.compile import Compiled, compile_policy
from sidecar.policy.glance import AssumedSessions, glance
from sidecar.policy.read import PolicyDocument
from sidecar.policy.stage import Stage


class Explainer:
    """Answers `POST /api/explain` about the policy in force. Compiled once a policy, in a thread."""

    def __init__(self, current: Callable[[], PolicyDocument], stage: Stage, has_key: HasKey) -> None:
        self._current = current
        self._stage = glance(stage)
        self._has_key = has_key
        self._compiled: Compiled | None = None

    async def __call__(self, question: Question) -> Mapping[str, Any]:
        """Raise ValueError when the question is none."""
        document = self._current()
        compiled = self._compiled
        if compiled is None or compiled.document is not document:
            compiled = self._compiled = await asyncio.to_thread(compile_policy, document, self._stage)
        return (await Asking(compiled, self._stage, question, self._has_key).explained()).plain()


async def rehearse(document: PolicyDocument, stage: Stage, question: Question) -> Explanation:
    """Explain by a policy alone, without a sidecar that runs: windows are empty, what is presented is believed."""
    sessions = AssumedSessions(stage.sessions)
    stage = glance(stage, sessions)
    said = await Asking(compile_policy(document, stage), stage, question, None, sessions).explained()
    if said.limits:
        said.notes.append("windows are empty here: a running sidecar knows how full they are (POST /api/explain)")
    if sessions.believed:
        said.notes.append("the session that was presented is taken for a live one of this client")
    return said
