"""Header lines that responses carry: security headers and hardened cookies."""
