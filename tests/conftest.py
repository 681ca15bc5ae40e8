"""Settings of all tests: property tests draw the same examples in each run of CI, new ones elsewhere.

Examples have no deadline of their own: a machine that does other work would break it.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("here", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
