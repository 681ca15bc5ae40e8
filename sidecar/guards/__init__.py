"""Head guards: one feature a file, exchange in, decision out."""
