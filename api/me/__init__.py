"""The caller."""
