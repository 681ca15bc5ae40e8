"""A small chat backend with a page, to see the sidecar work."""
