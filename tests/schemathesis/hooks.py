"""A hook for schemathesis: an idempotency key stands for one request, so each case gets one of its own."""

import re
import uuid
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Replace a key that is well formed."""
    del context, kwargs
    headers = case.headers or {}
    for name in list(headers):
        if name.lower() == "idempotency-key" and re.fullmatch(r"[!-~]{1,255}", str(headers[name])):
            headers[name] = str(uuid.uuid4())
