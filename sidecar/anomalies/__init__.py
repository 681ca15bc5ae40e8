"""Usage that is unlike what it was: by organization and by session."""
