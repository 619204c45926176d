"""From whom a user wants to hear nothing."""
