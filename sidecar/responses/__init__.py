"""What runs per response of a backend."""
