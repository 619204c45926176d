"""Moderation of messages."""
