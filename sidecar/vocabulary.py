"""The closed vocabularies: events of the log, and codes of refusals.

`Event` is a metric's label and a log line's name; `Code` is in a refusal's body. Operators and pages
depend on both: members are added, never renamed.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Self


class Category(StrEnum):
    """Which reader an event is for: the `category` of its log line."""

    SECURITY = "SECURITY"
    ACCESS = "ACCESS"
    AUDIT = "AUDIT"
    SYSTEM = "SYSTEM"


class Level(StrEnum):
    """How serious an event is, as a log reader sorts it."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Outcome(StrEnum):
    """What came of it: `observed` is a refusal that a guard in observe mode did not carry out."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    OBSERVED = "observed"
    CHANGED = "changed"
    FAILED = "failed"


class Event(Enum):
    """Every fact that the product records; the value is (category, level)."""

    API_KEY_VALIDATION = (Category.SECURITY, Level.INFO)
    SESSION_CREATED = (Category.SECURITY, Level.INFO)
    SESSION_CLEANUP = (Category.SECURITY, Level.INFO)
    RATE_LIMIT_EXCEEDED = (Category.SECURITY, Level.WARNING)
    CORS_BLOCKED = (Category.SECURITY, Level.WARNING)
    INVALID_SESSION_ID = (Category.SECURITY, Level.WARNING)
    CHAT_MESSAGE_PROCESSED = (Category.SECURITY, Level.INFO)
    CHAT_ERROR = (Category.SECURITY, Level.ERROR)
    SESSION_EXPIRED = (Category.SECURITY, Level.INFO)
    SESSION_NETWORK_CHANGED = (Category.SECURITY, Level.WARNING)
    CSRF_BLOCKED = (Category.SECURITY, Level.WARNING)
    IP_BLOCKED = (Category.SECURITY, Level.WARNING)
    IP_BANNED = (Category.SECURITY, Level.WARNING)
    AUTH_FAILED = (Category.SECURITY, Level.WARNING)
    REQUEST_MALFORMED = (Category.SECURITY, Level.WARNING)
    MESSAGE_INVALID = (Category.SECURITY, Level.WARNING)
    MESSAGE_UNREADABLE = (Category.SECURITY, Level.WARNING)
    MESSAGE_TOO_LONG = (Category.SECURITY, Level.WARNING)
    MESSAGE_SANITIZED = (Category.SECURITY, Level.INFO)
    CONTENT_BLOCKED = (Category.SECURITY, Level.WARNING)
    SECRET_REDACTED = (Category.SECURITY, Level.WARNING)
    CREDENTIAL_CREATED = (Category.AUDIT, Level.INFO)
    CREDENTIAL_UPDATED = (Category.AUDIT, Level.INFO)
    CREDENTIAL_ROTATED = (Category.AUDIT, Level.INFO)
    CREDENTIAL_DELETED = (Category.AUDIT, Level.INFO)
    CREDENTIAL_EXPIRED = (Category.SECURITY, Level.WARNING)
    CREDENTIAL_UNAVAILABLE = (Category.SECURITY, Level.ERROR)
    HANDLE_REFUSED = (Category.SECURITY, Level.WARNING)
    STORE_DEGRADED = (Category.SYSTEM, Level.ERROR)
    STORE_RECOVERED = (Category.SYSTEM, Level.INFO)
    POLICY_RELOADED = (Category.SYSTEM, Level.INFO)
    POLICY_REJECTED = (Category.SYSTEM, Level.ERROR)
    DATA_ERASED = (Category.AUDIT, Level.INFO)
    ADMIN_ACTION = (Category.AUDIT, Level.INFO)
    BACKEND_ERROR = (Category.SYSTEM, Level.ERROR)
    OVERLOADED = (Category.SYSTEM, Level.WARNING)
    PROXY_UNDECLARED = (Category.SYSTEM, Level.WARNING)
    CSP_VIOLATION = (Category.SECURITY, Level.WARNING)
    LINK_REMOVED = (Category.SECURITY, Level.WARNING)
    USAGE_ANOMALY = (Category.SECURITY, Level.WARNING)
    STREAM_REVOKED = (Category.SECURITY, Level.WARNING)
    BUDGET_EXCEEDED = (Category.SECURITY, Level.WARNING)
    MAINTENANCE = (Category.SYSTEM, Level.WARNING)
    GUARD_FAILED = (Category.SYSTEM, Level.ERROR)

    # Two events may share a value; without this an Enum would make them aliases of one another.
    def __new__(cls, category: Category, level: Level) -> Self:
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        member.category = category
        member.level = level
        return member

    category: Category
    level: Level


class Code(Enum):
    """A refusal: (status, the sentence for people, the event that is recorded)."""

    REQUEST_MALFORMED = (400, "The request is malformed", Event.REQUEST_MALFORMED)
    MESSAGE_INVALID = (400, "The message is not valid", Event.MESSAGE_INVALID)
    MESSAGE_TOO_LONG = (400, "The message is too long", Event.MESSAGE_TOO_LONG)
    INVALID_SESSION_ID = (400, "The session is not valid", Event.INVALID_SESSION_ID)
    AUTH_FAILED = (401, "Authentication failed", Event.AUTH_FAILED)
    CORS_BLOCKED = (403, "This origin is not allowed", Event.CORS_BLOCKED)
    CSRF_BLOCKED = (403, "Cross-site requests are not allowed", Event.CSRF_BLOCKED)
    IP_BLOCKED = (403, "This address is not allowed", Event.IP_BLOCKED)
    CONTENT_BLOCKED = (403, "This content is not allowed", Event.CONTENT_BLOCKED)
    FORBIDDEN = (403, "This is not allowed", Event.AUTH_FAILED)
    ACCESS_REVOKED = (403, "Access has been revoked", Event.STREAM_REVOKED)
    NOT_FOUND = (404, "Not found", None)
    METHOD_NOT_ALLOWED = (405, "This method is not allowed", None)
    REQUEST_TIMEOUT = (408, "The request took too long to arrive", Event.REQUEST_MALFORMED)
    LENGTH_REQUIRED = (411, "The request must say how long its body is", None)
    BODY_TOO_LARGE = (413, "The request body is too large", Event.REQUEST_MALFORMED)
    TARGET_TOO_LONG = (414, "The address is too long", Event.REQUEST_MALFORMED)
    UNSUPPORTED_MEDIA_TYPE = (415, "This media type is not supported", Event.MESSAGE_INVALID)
    EXPECTATION_FAILED = (417, "This expectation cannot be met", None)
    MISDIRECTED_REQUEST = (421, "This host is not served here", Event.REQUEST_MALFORMED)
    UPGRADE_REQUIRED = (426, "This version of the protocol is not spoken here", None)
    RATE_LIMIT_EXCEEDED = (429, "Too many requests", Event.RATE_LIMIT_EXCEEDED)
    HEADERS_TOO_LARGE = (431, "The request headers are too large", Event.REQUEST_MALFORMED)
    BACKEND_UNREACHABLE = (502, "The service is not reachable", Event.BACKEND_ERROR)
    BACKEND_BROKEN = (502, "The service failed", Event.BACKEND_ERROR)
    OVERLOADED = (503, "The service is busy", Event.OVERLOADED)
    CREDENTIAL_UNAVAILABLE = (503, "The service is not configured", Event.CREDENTIAL_UNAVAILABLE)
    DRAINING = (503, "The service is restarting", Event.OVERLOADED)
    MAINTENANCE = (503, "The service is under maintenance", Event.MAINTENANCE)
    BACKEND_TIMEOUT = (504, "The service took too long", Event.BACKEND_ERROR)

    def __new__(cls, status: int, sentence: str, event: Event | None) -> Self:
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        member.status = status
        member.sentence = sentence
        member.event = event
        return member

    status: int
    sentence: str
    event: Event | None
