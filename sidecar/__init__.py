"""A guard in front of a chat backend: one process, three listeners, one policy."""

__version__ = "0.1.0"
