"""What a client reads of a stream until it ends: how many pieces, and the error that it raises; twice."""

import json
import sys

URL = sys.argv[1]
ASKED = [{"role": "user", "content": "Hi"}]


def report(stream):
    """Read two streams to their end; print what came of them."""
    print(json.dumps([_read(stream()), _read(stream())]))


def _read(pieces):
    count, raised = 0, None
    try:
        for _ in pieces:
            count += 1
    except Exception as error:  # noqa: BLE001  whatever the client raises
        headers = getattr(getattr(error, "response", None), "headers", {})
        raised = {
            "class": f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}",
            "text": str(error),
            "retry_after": headers.get("retry-after"),
        }
    return {"pieces": count, "error": raised}
