"""Chats, as administrators see them."""
