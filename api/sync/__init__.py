"""Catching up over REST."""
