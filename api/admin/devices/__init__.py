"""Devices, as administrators see them."""
