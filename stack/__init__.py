"""Runs everything on one machine, supervised: the `pabal` command, which starts the other packages as processes."""
