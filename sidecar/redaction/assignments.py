"""`api_key = …`: values that look random behind a name that says what they are.

The broadest pattern, and the only one that may take an application's own tokens (`"access_token":
"…"` of a login): a policy names it (`generic`) where answers carry none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import re2

from sidecar.redaction.patterns import looks_random
from sidecar.redaction.prefilter import Prefilter
from sidecar.redaction.scanner import Hit

GENERIC: Final = "generic"
_VALUE: Final = rb"[A-Za-z0-9_.=+/~%-]"
_LONGEST: Final = 400
_TURN: Final = rb"(?:[a-z][0-9]|[0-9][a-z])"
_TWO_TURNS: Final = (
    rb"(?:[a-z][0-9](?:[a-z]|" + _VALUE + rb"*" + _TURN + rb")|[0-9][a-z](?:[0-9]|" + _VALUE + rb"*" + _TURN + rb"))"
)

_WORDS: Final = (
    b"secret api_key api-key apikey access_key access-key accesskey auth_key auth_token private_key password "
    b"passwd credential token client_id client-id license_key signing_key encryption_key webhook_key "
    b"passphrase pwd session_id sessionid sessid connect.sid session"
).split()
_SERVICES: Final = (
    b"adafruit adobe airtable algolia artifactory asana atlassian auth0 beamer bintray bitbucket bittrex bluesky "
    b"braintree circleci cloudflare cloudinary codecov cohere coinbase confluence confluent contentful contribsys "
    b"datadog deepseek digitalocean discord docker dropbox droneci dynatrace easypost elastic etsy facebook fastly "
    b"figma finicity finnhub firebase flickr flutterwave freshbooks freshdesk gitter gocardless grafana harness "
    b"heroku honeycomb hubspot infracost instagram intercom jenkins jfrog jira jumpcloud kraken kucoin "
    b"launchdarkly linear linkedin lob looker lookr mailchimp mailgun mapbox mattermost message_bird messagebird "
    b"message-bird mistral mixpanel netlify new-relic new_relic newrelic nytimes okta opsgenie pagerduty paypal "
    b"pipedrive plaid posthog private_ai privateai pusher rapidapi razorpay salesforce segment sendbird sendgrid "
    b"sentry shodan snyk sonar splunk spotify square squarespace statuspage sumo sumologic supabase telegram "
    b"telegr travis trello twilio twitch twitter typeform vercel wakatime yandex zapier zendesk zoom"
).split()


class AssignmentScanner:
    """Find random-looking values that a name introduces; the name stays, the value goes."""

    framing = True
    known = None
    __slots__ = ("_begun", "_cut", "_likely", "_longest_name", "_whole", "reach", "suspects")

    def __init__(self) -> None:
        self._cut = frozenset(word[:size] for word in (*_WORDS, *_SERVICES) for size in range(1, len(word)))
        self._longest_name = max(map(len, self._cut))
        names = (
            b"(?:" + b"|".join(re2.escape(word) for word in sorted((*_WORDS, *_SERVICES), key=len, reverse=True)) + b")"
        )
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.case_sensitive = False
        # Between a name and its value: the rest of the name, a closing quote, an operator, an opening quote.
        rest, quote, operator, opening = (
            rb"[\w .-]{0,40}",
            rb"[\\\"'\s]{0,5}",
            rb"[=>:|?,]{1,5}",
            rb"[\\\x60\"'\s=]{0,5}",
        )
        self._whole = re2.compile(names + rest + quote + operator + opening + b"(" + _VALUE + b"{10,300})", options)
        value = b"(?:" + operator + opening + _VALUE + b"{0,300})?"
        self._begun = re2.compile(b"(?:" + names + rest + quote + value + b")\\z", options)
        self._likely = re2.compile(names + rest + quote + operator + opening + _VALUE + b"*" + _TWO_TURNS, options)
        self.reach = _LONGEST
        cut = b"|".join(re2.escape(word) for word in sorted(self._cut))
        self.suspects = Prefilter(b"(?i:" + names + b")", b"(?i:" + cut + b")")

    def scan(self, text: bytes, before: bytes, final: bool) -> tuple[Sequence[Hit], int]:  # noqa: ARG002  # names may be in words
        """Return hits over the values alone; see Scanner."""
        size = len(text)
        live = size if final else self._live_from(text)
        hits: list[Hit] = []
        at = 0
        while (found := self._likely.search(text, at)) is not None and found.start() < live:
            at = found.start() + 1
            whole = self._whole.match(text, found.start())
            if whole is not None and _random(whole.group(1)):
                hits.append(Hit(whole.start(1), whole.end(1), GENERIC))
                at = whole.end(1)
        return hits, live

    def _live_from(self, text: bytes) -> int:
        """Return where a name begins that may still be followed by a value, or that the end of the text cuts."""
        size = len(text)
        near = max(0, size - _LONGEST + 1)
        begun = self._begun.search(text[near:])
        return min(size - self._cut_length(text), size if begun is None else near + begun.start())

    def _cut_length(self, text: bytes) -> int:
        """Return how much of a name the end of the text may hold."""
        end = text[-self._longest_name :].lower()
        return next((len(end) - at for at in range(len(end)) if end[at:] in self._cut), 0)


def _random(value: bytes) -> bool:
    """Return whether a value looks random; a short one must look more so: `o200k_base` is a name."""
    return looks_random(value, 2 if len(value) >= 16 else 3)
