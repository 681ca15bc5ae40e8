"""From the text of a policy to its checked schema."""
