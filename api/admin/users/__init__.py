"""Users, as administrators see and sanction them."""
