"""`python -m jvmbind`: the command line."""

from jvmbind.cli import main

main()
