"""Statistics from roll-ups."""
