"""Programs of npm, in a folder of the test's own, and the schemas' generators that need Java."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# The versions that the description was last seen to pass.
PACKAGES = {
    "@hey-api/openapi-ts": "0.95.0",
    "@redocly/cli": "2",
    "@stoplight/spectral-cli": "6",
    "@types/node": "20",
    "newman": "6",
    "openapi-fetch": "0.17",
    "openapi-to-postmanv2": "6",
    "openapi-typescript": "7",
    "tsx": "4",
    "typescript": "5",
}


class NodeTools(NamedTuple):
    """A folder with the packages; programs run in it."""

    folder: Path

    def run(self, program: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of a package, whatever it ends with."""
        command = [self.folder / "node_modules" / ".bin" / program, *args]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)


def node_tools(folder: Path) -> NodeTools:
    """Install the packages; the test is skipped where there is no npm, or no index of packages."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm: NO LINTER, GENERATOR OR IMPORTER OF NODE WAS TRIED")
    manifest: dict[str, Any] = {"private": True, "dependencies": PACKAGES}
    (folder / "package.json").write_text(json.dumps(manifest))
    done = subprocess.run(
        [npm, "install", "--no-fund", "--no-audit"], capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        pytest.skip(f"npm could install nothing: NO LINTER, GENERATOR OR IMPORTER OF NODE WAS TRIED: {done.stderr}")
    return NodeTools(folder)
