"""A guard in front of a chat backend: one process, three listeners, one policy."""

import os
from pathlib import Path

from sidecar import native

__version__ = "0.1.0"

FORM = native.form(Path(__file__).parent, os.environ)
"""`native`, or `interpreted` and why: which form of the modules of the hot path this process imports."""

if FORM != "native":
    native.interpret(Path(__file__).parent)
