"""Signing in with an account of an OpenID provider."""
