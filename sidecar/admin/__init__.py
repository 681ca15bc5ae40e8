"""The management listener: tokens, roles, the admin API, the console."""
