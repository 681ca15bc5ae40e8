"""Redaction of a socket: what it knows, what it says of it, and that it takes over new secrets."""

from __future__ import annotations

from sidecar.errors import Problems
from sidecar.redaction.filters import build_redaction
from sidecar.redaction.known_secrets import KnownSecretsSource
from sidecar.responses.filters import RouteResponseFilters
from sidecar.secret import Secret
from sidecar.vault.models import KnownSecrets
from sidecar.vocabulary import Event, Outcome
from tests.support.exchanges import exchange

OLD, NEW = "old-key-0123456789abcdef", "new-key-0123456789abcdef"


class Sink:
    def __init__(self):
        self.said = []

    def record(self, event):
        self.said.append((event.event, event.outcome, event.detail))

    def served(self, served): ...


class Keys:
    """The secrets of a vault that changes."""

    def __init__(self, *values):
        self.now = KnownSecrets(1, tuple(map(Secret, values)))

    def become(self, *values):
        self.now = KnownSecrets(self.now.generation + 1, tuple(map(Secret, values)))

    def answers(self, sink, *, enforce=True, patterns=()):
        redaction = build_redaction(None, patterns, Problems())
        return RouteResponseFilters(redaction, KnownSecretsSource(lambda: self.now), (), sink, enforce=enforce)


def opened(answers):
    assert answers.wanted()
    frames = answers.frames(exchange("GET", "/ws"))
    assert frames is not None
    return frames


def texts(messages):
    assert not any(binary for _, binary in messages)
    return [data for data, _ in messages]


def test_control_frames_of_a_socket_are_looked_at():
    sink = Sink()
    frames = opened(Keys(OLD).answers(sink))
    assert frames.control(b"beat") == b"beat"
    assert frames.control(f"<{OLD}>".encode()) == b"<[redacted]>"
    assert frames.close_reason(b"bye") == b"bye"
    assert frames.close_reason(OLD.encode()) == b"[redacted]"
    assert sink.said == [(Event.SECRET_REDACTED, Outcome.CHANGED, {"known": 1})]


def test_a_socket_reports_once_what_it_redacts():
    sink = Sink()
    frames = opened(Keys(OLD).answers(sink))
    assert texts(frames.take(f'["{OLD}"]'.encode(), binary=False)) == [b'["[redacted]"]']
    assert texts(frames.take(f'["{OLD}"]'.encode(), binary=False)) == [b'["[redacted]"]']
    assert sink.said == [(Event.SECRET_REDACTED, Outcome.CHANGED, {"known": 1})]


def test_an_observed_socket_reports_and_changes_nothing():
    sink = Sink()
    frames = opened(Keys(OLD).answers(sink, enforce=False))
    message = f'{{"delta":"{OLD}"}}'.encode()
    assert texts(frames.take(message, binary=False)) == [message]
    assert frames.rest() == []
    assert sink.said == [(Event.SECRET_REDACTED, Outcome.OBSERVED, {"known": 1})]


def test_an_open_socket_hears_of_new_secrets():
    keys = Keys(OLD)
    frames = opened(keys.answers(Sink()))
    assert texts(frames.take(f'["{NEW}"]'.encode(), binary=False)) == [f'["{NEW}"]'.encode()]
    keys.become(OLD, NEW)
    assert texts(frames.take(f'["{NEW} {OLD}"]'.encode(), binary=False)) == [b'["[redacted] [redacted]"]']


def test_what_waits_when_the_secrets_change_leaves_first():
    keys = Keys(OLD)
    frames = opened(keys.answers(Sink()))
    assert texts(frames.take(b'{"delta":"it is old-key"}', binary=False)) == []
    keys.become(OLD, NEW)
    assert texts(frames.take(b'{"delta":" or not"}', binary=False)) == [
        b'{"delta":"it is old-key"}',
        b'{"delta":" or not"}',
    ]


def test_a_socket_goes_on_when_there_are_no_secrets_any_more():
    keys = Keys(OLD)
    frames = opened(keys.answers(Sink()))
    keys.become()
    assert texts(frames.take(f'["{OLD}"]'.encode(), binary=False)) == [f'["{OLD}"]'.encode()]
    assert frames.rest() == []


def test_where_nothing_is_looked_for_there_is_no_filter():
    answers = Keys().answers(Sink())
    assert not answers.wanted()
    assert answers.frames(exchange("GET", "/ws")) is None
