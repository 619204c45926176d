"""What operators and other services read."""
