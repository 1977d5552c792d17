"""What commands print, read back."""

import csv
import io
import json
import re
from typing import Any

ERROR = re.compile(r"error: [^\n]+\n")


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))
