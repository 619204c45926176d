"""Whom a user knows."""
