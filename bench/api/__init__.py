"""The REST API on a real stack: history, chat list, login and sends at fixed rates. `python -m bench.api`, or `make bench-api`."""
