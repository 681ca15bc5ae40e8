"""What was seen: log lines, metrics, recent events."""
