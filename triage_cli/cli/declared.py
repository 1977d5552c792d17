"""How options and arguments of commands are declared: what stands for a value in the help, and the help's text."""

from typing import Any

import typer


def option(*declared: str, heading: str | None = None, **limits: Any) -> Any:
    """Return an option with a value: its names (else that of the parameter), what stands for the value, its help.

    `heading` is the one of the help under which it stands, and `limits` are those of a number.
    """
    *names, value, text = declared
    return typer.Option(*names, metavar=value, help=text, rich_help_panel=heading, **limits)


def flag(*declared: str, heading: str | None = None) -> Any:
    """Return an option without a value: its names, its help."""
    *names, text = declared
    return typer.Option(*names, help=text, rich_help_panel=heading)


def argument(value: str, text: str) -> Any:
    """Return an argument: what stands for it in the help, its help."""
    return typer.Argument(metavar=value, help=text)
