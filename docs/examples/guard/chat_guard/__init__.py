"""Guards of our own for the chat sidecar."""
