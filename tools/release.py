"""Make what a release consists of, in `dist/`: wheel, source archive, SBOM, notes, hashes, and an image.

It asks no network but for the image. The same commit gives the same files, whoever makes them.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib

from tools.licences import ROOT, licence_or_none, locked_versions

DIST = ROOT / "dist"


def git(*words: str) -> str:
    """Return what git says of the repository."""
    return subprocess.run(
        [shutil.which("git") or "git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def notes(version: str) -> str:
    """Return the changes of a version. Exits if they have no date, so that a version is never released undated."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)", changes, re.MULTILINE | re.DOTALL
    )
    if found is None:
        sys.exit(f'CHANGELOG.md has no "## {version} (YYYY-MM-DD)"; write the date of the release, and commit it')
    return found[1].strip() + "\n"


def bill_of_materials(version: str) -> str:
    """Return the packages of the server's lock as CycloneDX."""
    components = []
    for name, package_version in locked_versions():
        package = {"type": "library", "name": name, "version": package_version}
        package["purl"] = f"pkg:pypi/{name}@{package_version}"
        stated = licence_or_none(name)
        components.append(package | ({"licenses": [{"license": {"name": stated}}]} if stated else {}))
    about = {"component": {"type": "application", "name": "triage-cli", "version": version}}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about, "components": components}
    return json.dumps(bill, indent=1) + "\n"


def main() -> None:
    """Make all files of the version that `pyproject.toml` names."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    text = notes(version)
    if changed := git("status", "--porcelain"):
        sys.exit(f"a release is a commit, and this is not committed: {changed}")
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(DIST)], cwd=ROOT, check=True)
    (DIST / "NOTES.md").write_text(text, encoding="utf-8")
    (DIST / "sbom.cdx.json").write_text(bill_of_materials(version), encoding="utf-8")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    if tool := shutil.which("docker") or shutil.which("podman"):
        commit = git("rev-parse", "--short=12", "HEAD")
        words = [tool, "build", "-t", f"triage:{version}", "--build-arg", f"COMMIT={commit}", "."]
        subprocess.run(words, cwd=ROOT, check=True)
    else:
        print("no docker and no podman here: no image was built")
    print(f"{DIST} holds {version}; tag it: git tag -s v{version}")


if __name__ == "__main__":
    main()
