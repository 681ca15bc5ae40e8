"""Settings of all tests: property tests draw the same examples in each run of CI, new ones elsewhere.

Examples have no deadline of their own: a machine that does other work would break it.

In the tests' own process all modules are interpreted, so that a test can put its own values in their place; the
sidecars that tests start are native where that is built, as in production.
"""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["SIDECAR_NATIVE"] = "off"
import sidecar  # noqa: F401  # it looks at the variable once, when it is imported first

del os.environ["SIDECAR_NATIVE"]

settings.register_profile("here", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
