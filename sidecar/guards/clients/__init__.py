"""Guards of the client: its address, its networks, bans, open requests, request id."""
