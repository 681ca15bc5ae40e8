"""Known secrets and key patterns, taken out of answers at any chunking."""
