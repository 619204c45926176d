"""What was told to everybody, for those who were away."""
