"""Things that publish."""
