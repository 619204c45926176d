"""Chats and their list."""
