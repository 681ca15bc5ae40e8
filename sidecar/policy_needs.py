"""What the process takes from a policy, and what a policy needs of it."""

from __future__ import annotations

from pathlib import Path

from sidecar.anomalies.usage import Measure, Rule
from sidecar.policy.schema.content import Events
from sidecar.policy.schema.policy_schema import PolicySchema
from sidecar.settings import Settings
from sidecar.telemetry.webhook_target import Target, target_of
from sidecar.vault.providers import Catalogue


def log_path(text: str | None) -> Path | None:
    """Return the path of `events.file`."""
    return Path(text) if text is not None else None


def webhook_target(events: Events, settings: Settings) -> Target | None:
    """Return where events are posted. ConfigError when the environment lacks what the policy needs for it."""
    return target_of(events.webhook, settings.webhook_url, settings.webhook_secret)


def log_keys(events: Events) -> tuple[object, ...]:
    """Return what opens the log anew when it changes."""
    return (events.log, events.file, events.access, events.form)


def unusual(schema: PolicySchema) -> Rule | None:
    """Return when usage is unusual; None: nothing looks for it."""
    if schema.anomalies is None:
        return None
    least = schema.anomalies.least
    return Rule(schema.anomalies.factor, {measure: getattr(least, measure.value) for measure in Measure})


def needs_keys(schema: PolicySchema) -> bool:
    """Return whether a policy puts keys into requests."""
    return any(route.credential for route in schema.routes) or schema.listen.egress is not None


def needs_tokens(schema: PolicySchema) -> bool:
    """Return whether a policy names organizations by tokens and brings no keys to verify them with."""
    organizations = schema.organizations
    written = "sources" in organizations.model_fields_set  # the default lists sources that may be unused
    return written and "token" in organizations.sources and schema.api_auth.jwks is None


def catalogue_of(schema: PolicySchema) -> Catalogue:
    """Return the known providers and those that the policy adds."""
    return Catalogue.load({name: provider.entry() for name, provider in schema.providers.items()})
