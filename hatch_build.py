"""Writes the commit that a wheel is built from into it, so that `triage --version` tells two builds apart."""

import os
import tempfile
from pathlib import Path
from runpy import run_path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = Path("triage_cli", "runtime", "build.py")


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `triage_cli/commit.txt`; the image, whose build has no repository, is given TRIAGE_COMMIT instead."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file before the build; an editable installation looks at its repository when it is asked."""
        commit = os.environ.get("TRIAGE_COMMIT") or run_path(str(Path(self.root, BUILD)))["commit_of"](Path(self.root))
        if version != "editable" and commit:
            self._folder = tempfile.TemporaryDirectory()  # goes with this hook
            file = Path(self._folder.name, "commit.txt")
            file.write_text(f"{commit}\n", encoding="utf-8")
            build_data["force_include"][str(file)] = "triage_cli/commit.txt"
