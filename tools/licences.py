"""Write docs/reference/licences.md: the licence of each package that a server installs, as the package states it.

It reads `requirements-server.lock` and the metadata of what is installed here. Run by `just lock`.
"""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """# Licences of what is installed

The packages of `requirements-server.lock`, with the licence that each states of itself. Written by `tools/licences.py`.

| package | licence |
|---|---|
"""


def locked_versions() -> Iterator[tuple[str, str]]:
    """Yield the packages of the lock with their versions."""
    for line in (ROOT / "requirements-server.lock").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9._-]+)==([^ ;]+)", line):
            yield match[1], match[2]


def licence(package: str) -> str:
    """Return the licence by the package's metadata: an SPDX expression, else its classifiers, else its first line."""
    found = metadata(package)
    classifiers = [c.rpartition(" :: ")[2] for c in found.get_all("Classifier") or () if c.startswith("License :: ")]
    expression, text = (next(iter(found.get_all(name) or ()), "") for name in ("License-Expression", "License"))
    return expression or ", ".join(classifiers) or text.split("\n")[0] or "not stated"


def licence_or_none(package: str) -> str | None:
    """Return the licence, or None of a package for another system or Python."""
    try:
        return licence(package)
    except PackageNotFoundError:
        return None


def rows() -> Iterator[str]:
    """Yield a row of the table for each package that this system installs."""
    for package in dict(locked_versions()):
        if stated := licence_or_none(package):
            yield f"| {package} | {stated} |"


if __name__ == "__main__":
    page = ROOT / "docs" / "reference" / "licences.md"
    page.write_text(HEAD + "\n".join(rows()) + "\n", encoding="utf-8")
