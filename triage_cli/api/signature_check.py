"""The check that an incoming webhook comes from its sender: a signature of the body, or a shared secret in a header."""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterable

from starlette.datastructures import Headers

from triage_cli.api.server_state import IncomingWebhook
from triage_cli.domain import UnauthenticatedError, signature, to_seconds

# Seconds by which a signature's time may differ from now.
CLOCK_TOLERANCE = 300.0
# Characters of an event's id that are stored as they are; a longer one is hashed, since PostgreSQL limits its keys.
LONGEST_EVENT_ID = 255


def verified_event_id(webhook: IncomingWebhook, headers: Headers, body: bytes, now: float) -> str:
    """Return the id of a webhook's event if its signature is right. Raises `UnauthenticatedError`."""
    read_evidence = {"standard": _standard_evidence, "token": _token_evidence}.get(webhook.spec.type, _hmac_evidence)
    event_id, signed_at, sent_signatures, right_signatures = read_evidence(webhook, headers, body)
    # All signatures are compared completely, so that the duration reveals nothing.
    matches = [hmac.compare_digest(a.encode("latin-1"), b) for a in sent_signatures for b in right_signatures]
    if not any(matches):
        proof = "secret" if webhook.spec.type == "token" else "signature"
        raise UnauthenticatedError(f"the {proof} is missing or wrong", hint="check the secret on both sides")
    if webhook.spec.timed and abs(_signed_seconds(signed_at) - now) > CLOCK_TOLERANCE:
        raise UnauthenticatedError("the signature is too old, or from the future", hint="check the clocks")
    if not event_id:
        return hashlib.sha256(signed_at.encode() + b"\n" + body).hexdigest()
    return event_id if len(event_id) <= LONGEST_EVENT_ID else hashlib.sha256(event_id.encode()).hexdigest()


# The event's id, the time of the signature, the signatures (or secrets) that were sent, and those that are right.
SignatureEvidence = tuple[str, str, Iterable[str], list[bytes]]


def _standard_evidence(webhook: IncomingWebhook, headers: Headers, body: bytes) -> SignatureEvidence:
    event_id, signed_at, sent_signatures = (
        headers.get(f"{webhook.spec.header_prefix}-{name}", "") for name in ("id", "timestamp", "signature")
    )
    right_signatures: list[bytes] = []
    if signed_at.isdecimal() and len(signed_at) < 16:
        right_signatures = signature(webhook.secrets, event_id, int(signed_at), body).encode().split()
    return event_id, signed_at, sent_signatures.split(), right_signatures


def _token_evidence(webhook: IncomingWebhook, headers: Headers, _body: bytes) -> SignatureEvidence:
    prefix = webhook.spec.prefix or ""
    sent_secret = headers.get(webhook.spec.header or "", "")
    return "", "", [sent_secret.removeprefix(prefix)] if sent_secret.startswith(prefix) else [], list(webhook.secrets)


def _hmac_evidence(webhook: IncomingWebhook, headers: Headers, body: bytes) -> SignatureEvidence:
    spec = webhook.spec
    header_items = re.split(r"[\s,]+", headers.get(spec.header or "", ""))
    signed_at = headers.get(spec.timestamp_header, "") if spec.timestamp_header else ""
    if spec.timestamp_in:
        mark = f"{spec.timestamp_in}="
        signed_at = next((item.removeprefix(mark) for item in header_items if item.startswith(mark)), "")
    if spec.prefix is None:  # as many do, whether or not the configuration says so
        sent_signatures = [item.removeprefix(f"{spec.algorithm}=") for item in header_items]
    else:
        sent_signatures = [item.removeprefix(spec.prefix) for item in header_items if item.startswith(spec.prefix)]
    before, _, after = (spec.base or "{timestamp}{body}").partition("{body}")
    signed_text = b"".join([_with_timestamp(before, signed_at), body, _with_timestamp(after, signed_at)])
    digests = [hmac.digest(secret, signed_text, spec.algorithm) for secret in webhook.secrets]
    hex_digests = [digest.hex().encode() for digest in digests if spec.encoding != "base64"]
    base64_digests = [b64encode(digest) for digest in digests if spec.encoding != "hex"]
    return "", signed_at, sent_signatures, hex_digests + base64_digests


def _with_timestamp(text: str, signed_at: str) -> bytes:
    return text.replace("{timestamp}", signed_at).encode()


def _signed_seconds(signed_at: str) -> float:
    """Return the time of a signature as seconds since 1970: seconds, milliseconds or ISO 8601; 0 for anything else."""
    if signed_at.isdecimal() and len(signed_at) < 16:
        return int(signed_at) / 1000 if len(signed_at) > 11 else int(signed_at)
    try:
        return to_seconds(signed_at)
    except (ValueError, OverflowError):
        return 0.0
