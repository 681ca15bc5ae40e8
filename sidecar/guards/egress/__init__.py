"""Guards of the egress listener."""
