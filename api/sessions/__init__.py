"""Sign-ins: made, refreshed, listed, ended."""
