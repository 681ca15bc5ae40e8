"""One YAML document becomes one frozen Policy, or every problem at once."""
