"""What is to be typed where a part of the installation is missing or too old.

The program is on no package index, so no hint sends anybody to one for it: whoever took its name there would run code
on our users' machines.
"""

from importlib import metadata

DISTRIBUTION = "triage-cli"
AGAIN = "install it again from a clone of its repository: pip install ."
NEWER = "install a newer triage: git pull in a clone of its repository, then pip install ."


def with_extra(extra: str) -> str:
    """Return how to install what an extra brings: by pip in a clone, or into the environment that pipx made."""
    hint = f"pip install '.[{extra}]' in a clone of its repository"
    try:
        declared = metadata.requires(DISTRIBUTION) or ()
    except metadata.PackageNotFoundError:  # run from a folder, without having been installed
        return hint
    marked = (requirement.partition(";") for requirement in declared)
    needed = [f"'{name.strip()}'" for name, _, marker in marked if extra in marker.replace('"', "'").split("'")]
    return f"{hint}; or, where pipx installed it: pipx inject {DISTRIBUTION} {' '.join(needed)}"
