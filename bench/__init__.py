"""Load generator, peers and reports. `make bench` runs the two short ones; `python -m bench --help` tells of the rest."""
