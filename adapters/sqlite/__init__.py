"""SQLite: what one process keeps for itself on its own disk."""
