"""Explaining by the policy in force, and by a policy alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sidecar.admin.ports import Question
from sidecar.policy.compile import Compiled, compile_policy
from sidecar.policy.document.read import PolicyDocument
from sidecar.policy.dry_run import AssumedSessions, read_only_services
from sidecar.services import Services

if TYPE_CHECKING:
    from sidecar.explain.evaluation import HasKey
    from sidecar.explain.explanation import Explanation


class Explainer:
    """Answers `POST /api/explain` about the policy in force. Compiled once a policy, in a thread."""

    def __init__(self, current: Callable[[], PolicyDocument], services: Services, has_key: HasKey) -> None:
        self._current = current
        self._services = read_only_services(services)
        self._has_key = has_key
        self._compiled: Compiled | None = None

    async def __call__(self, question: Question) -> Mapping[str, Any]:
        """Raise ValueError when the question is none."""
        from sidecar.explain.evaluation import Evaluation  # not for a sidecar that is never asked

        document = self._current()
        compiled = self._compiled
        if compiled is None or compiled.document is not document:
            compiled = self._compiled = await asyncio.to_thread(compile_policy, document, self._services)
        return (await Evaluation(compiled, self._services, question, self._has_key).explained()).plain()


async def explain_request(document: PolicyDocument, services: Services, question: Question) -> Explanation:
    """Explain from a policy alone: rate limit windows are empty, and a presented session counts as live."""
    from sidecar.explain.evaluation import Evaluation

    sessions = AssumedSessions(services.sessions)
    services = read_only_services(services, sessions)
    said = await Evaluation(compile_policy(document, services), services, question, None, sessions).explained()
    if said.limits:
        said.notes.append("windows are empty here: a running sidecar knows how full they are (POST /api/explain)")
    if sessions.believed:
        said.notes.append("the session that was presented is taken for a live one of this client")
    return said
