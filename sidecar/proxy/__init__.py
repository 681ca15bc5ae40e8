"""Bytes from the client to the backend and back."""
