"""Broadcasts: telling everybody, or some chats."""
