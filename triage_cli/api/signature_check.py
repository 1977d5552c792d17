"""The check that an incoming webhook comes from its sender: a signature of the body, or a shared secret in a header."""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterable

from starlette.datastructures import Headers

from triage_cli.api.server_state import IncomingWebhook
from triage_cli.domain.errors import UnauthenticatedError
from triage_cli.domain.times import to_seconds
from triage_cli.domain.webhook_signing import signature

# Seconds by which a signature's time may differ from now.
TOLERANCE = 300.0
# Characters of an event's id that are stored as they are; a longer one is hashed, since PostgreSQL limits its keys.
LONGEST_ID = 255


def checked(hook: IncomingWebhook, headers: Headers, body: bytes, now: float) -> str:
    """Return the id of an event with a good signature. Raises `UnauthenticatedError`."""
    check = {"standard": _standard, "token": _token}.get(hook.spec.type, _hmac)
    event, at, given, good = check(hook, headers, body)
    # All are compared completely, so that the duration reveals nothing.
    matches = [hmac.compare_digest(a.encode("latin-1"), b) for a in given for b in good]
    if not any(matches):
        what = "secret" if hook.spec.type == "token" else "signature"
        raise UnauthenticatedError(f"the {what} is missing or wrong", hint="check the secret on both sides")
    if hook.spec.timed and abs(_seconds(at) - now) > TOLERANCE:
        raise UnauthenticatedError("the signature is too old, or from the future", hint="check the clocks")
    if not event:
        return hashlib.sha256(at.encode() + b"\n" + body).hexdigest()
    return event if len(event) <= LONGEST_ID else hashlib.sha256(event.encode()).hexdigest()


# Each returns the event's id and time, the signatures that were sent, and those that would be good.
Evidence = tuple[str, str, Iterable[str], list[bytes]]


def _standard(hook: IncomingWebhook, headers: Headers, body: bytes) -> Evidence:
    event, at, sent = (
        headers.get(f"{hook.spec.header_prefix}-{name}", "") for name in ("id", "timestamp", "signature")
    )
    good = signature(hook.secrets, event, int(at), body).encode().split() if at.isdecimal() and len(at) < 16 else []
    return event, at, sent.split(), good


def _token(hook: IncomingWebhook, headers: Headers, _body: bytes) -> Evidence:
    prefix = hook.spec.prefix or ""
    sent = headers.get(hook.spec.header or "", "")
    return "", "", [sent.removeprefix(prefix)] if sent.startswith(prefix) else [], list(hook.secrets)


def _hmac(hook: IncomingWebhook, headers: Headers, body: bytes) -> Evidence:
    spec = hook.spec
    items = re.split(r"[\s,]+", headers.get(spec.header or "", ""))
    at = headers.get(spec.timestamp_header, "") if spec.timestamp_header else ""
    if spec.timestamp_in:
        mark = f"{spec.timestamp_in}="
        at = next((item.removeprefix(mark) for item in items if item.startswith(mark)), "")
    if spec.prefix is None:  # as many do, whether or not the configuration says so
        signatures = [item.removeprefix(f"{spec.algorithm}=") for item in items]
    else:
        signatures = [item.removeprefix(spec.prefix) for item in items if item.startswith(spec.prefix)]
    before, _, after = (spec.base or "{timestamp}{body}").partition("{body}")
    signed = b"".join([_filled(before, at), body, _filled(after, at)])
    digests = [hmac.digest(secret, signed, spec.algorithm) for secret in hook.secrets]
    good = [digest.hex().encode() for digest in digests if spec.encoding != "base64"]
    return "", at, signatures, good + [b64encode(digest) for digest in digests if spec.encoding != "hex"]


def _filled(text: str, at: str) -> bytes:
    return text.replace("{timestamp}", at).encode()


def _seconds(at: str) -> float:
    """Return a time as seconds since 1970: seconds, milliseconds or ISO 8601; 0 for anything else."""
    if at.isdecimal() and len(at) < 16:
        return int(at) / 1000 if len(at) > 11 else int(at)
    try:
        return to_seconds(at)
    except (ValueError, OverflowError):
        return 0.0
