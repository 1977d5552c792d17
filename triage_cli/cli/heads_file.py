"""A file of heads that `audit verify --heads` keeps: each must be in the log, and today's is added."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from triage_cli.domain.audit import Head
from triage_cli.domain.errors import StoreError, UsageError
from triage_cli.domain.serialization import to_json
from triage_cli.runtime.private_files import private

HASH = re.compile("[0-9a-f]{64}")


class HeadsFile:
    """A head a line, as `triage audit head` prints it: a JSON object, or with `-o id` the hash alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def read(self) -> Mapping[str, str]:
        """Return the hashes and where they stand. Raises `UsageError` for a line that is no head.

        A file that is not there holds none.
        """
        try:
            self._lines = self._path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {self._path}: {error}", hint="name a file of heads") from error
        return {
            self._hash(number, head_line): f"of line {number} of {self._path}"
            for number, head_line in enumerate(self._lines, 1)
            if head_line.strip()
        }

    def _hash(self, number: int, head_line: str) -> str:
        text = head_line.strip().lower()
        with suppress(ValueError, TypeError, KeyError):  # of a hash alone, which is no JSON object
            text = str(json.loads(text)["head"])
        if not HASH.fullmatch(text):
            raise UsageError(
                f"line {number} of {self._path} is no head", hint="triage audit head >> FILE writes such lines"
            )
        return text

    def add(self, head: Head) -> bool:
        """Add a head, unless it is the last one already; tell whether the file is new. Raises `StoreError`."""
        last = next((head_line for head_line in reversed(self._lines) if head_line.strip()), "")
        if last and self._hash(len(self._lines), last) == head.head:
            return False
        head_line = head.head if HASH.fullmatch(last.strip().lower()) else to_json(head._asdict())
        new = not self._path.exists()
        try:
            with open(self._path, "a+b", buffering=0, opener=private) as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    head_line = head_line if file.read(1) == b"\n" else f"\n{head_line}"
                file.write(f"{head_line}\n".encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"the log is whole, but its head cannot be added to {self._path}: {error.strerror}",
                hint="name a file in a folder you may write",
            ) from error
        return new
