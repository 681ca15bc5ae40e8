"""Messages of WebSockets: one file for each way in which they are written."""
