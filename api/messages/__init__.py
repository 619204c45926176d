"""History, and sending over REST."""
