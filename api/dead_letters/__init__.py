"""Messages that could not be processed."""
