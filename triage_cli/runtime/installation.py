"""Hints for a missing or outdated part of the installation.

The program is on no package index, and no hint names one: whoever registered its name there could run code on users'
machines.
"""

from triage_cli import __version__

USER_AGENT = f"triage/{__version__}"  # what HTTP requests call the program
DISTRIBUTION = "triage-cli"
AGAIN = "install it again from a clone of its repository: pip install ."
NEWER = "install a newer triage: git pull in a clone of its repository, then pip install ."


def with_extra(extra: str) -> str:
    """Return how to add an extra to the installation: with pip in a clone, or with pipx."""
    from importlib import metadata  # slow to import, and a command that works needs no hint

    hint = f"pip install '.[{extra}]' in a clone of its repository"
    try:
        declared = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:  # run from a folder, without installation
        return hint
    requirements = (requirement.partition(";") for requirement in declared)
    packages = [f"'{name.strip()}'" for name, _, marker in requirements if extra in marker.replace('"', "'").split("'")]
    return f"{hint}; or, where pipx installed it: pipx inject {DISTRIBUTION} {' '.join(packages)}"
