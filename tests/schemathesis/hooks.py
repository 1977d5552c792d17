"""Hooks for schemathesis: what the description says in words, since generators of clients trip over it in schemas."""

import re
import uuid
from typing import Any

import schemathesis
from schemathesis import serializer

# A text of blanks and control characters alone says nothing.
BLANK = "\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
LISTS: set[str] = set()  # the parameters that may be repeated
SILENT = {"anyOf": [{"type": "null"}, {"type": "string", "not": {"pattern": f"[^{BLANK}]"}}]}


@serializer("text/tab-separated-values", "application/jsonl", "application/x-ndjson")
def table(ctx: Any, value: Any) -> bytes:
    """Send a table as it is."""
    del ctx
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def before_load_schema(context: Any, schema: dict[str, Any]) -> None:
    """Say that a ticket needs a text, and which bodies may be null and parameters empty; leave out very long texts."""
    del context
    ticket = schema["components"]["schemas"]["TicketIn"]
    ticket["not"] = {"properties": {"subject": SILENT, "description": SILENT}}
    for field in ("subject", "description"):
        ticket["properties"][field]["anyOf"][0].pop("maxLength")
    for operations in schema["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["schema"].get("type") == "array":
                    LISTS.add(parameter["name"])
                if parameter.get("allowEmptyValue"):
                    parameter["schema"] = {"anyOf": [parameter["schema"], {"const": ""}]}
            body = operation.get("requestBody", {})
            if body and not body.get("required"):
                for content in body["content"].values():
                    content["schema"] = {"anyOf": [content["schema"], {"type": "null"}]}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Replace an idempotency key that is well formed: it stands for one request, so each case gets one of its own."""
    del context, kwargs
    headers = case.headers or {}
    for name in list(headers):
        if name.lower() == "idempotency-key" and re.fullmatch(r"[!-~]{1,255}", str(headers[name])):
            headers[name] = str(uuid.uuid4())


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    """Leave out what is wrong only until it stands in an address: a number in a list of texts is a text there.

    Of an empty list or object nothing is left there.
    """
    del context
    values = query.items() if isinstance(query, dict) else ()
    return not any(value in ([], {}) or (name in LISTS and isinstance(value, int | float)) for name, value in values)
