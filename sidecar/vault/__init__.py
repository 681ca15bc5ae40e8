"""Third-party keys, sealed: format, database, handles, audit."""
