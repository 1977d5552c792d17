"""Lets `python -m triage_cli` do what `triage` does."""

from triage_cli.cli.app import main

main()
