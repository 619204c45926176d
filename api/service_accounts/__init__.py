"""Programs that administrators let in."""
