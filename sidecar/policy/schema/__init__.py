"""The policy's sections, one model each: what may be written, what is meant by silence."""
