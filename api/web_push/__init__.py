"""Pushes to browsers without FCM."""
