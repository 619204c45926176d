"""`python -m stack` is `pabal`."""

from stack.cli import main

main()
