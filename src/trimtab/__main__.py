"""Lets `python -m trimtab` be the command line."""

from trimtab.cli.main import main

main()
