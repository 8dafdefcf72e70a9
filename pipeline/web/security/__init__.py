"""Which requests the server accepts."""
