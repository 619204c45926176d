"""Who is in a chat."""
