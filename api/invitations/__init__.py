"""Links into chats, and requests to join."""
