"""Guards of the origin: CORS and fetch metadata."""
