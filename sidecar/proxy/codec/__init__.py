"""HTTP/1.1 and WebSocket frames as bytes."""
