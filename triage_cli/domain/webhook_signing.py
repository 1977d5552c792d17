"""Signatures of outgoing and incoming webhooks, by Standard Webhooks 1.0."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from triage_cli.domain.errors import ConfigError


def secret_of(text: str, place: str = "a webhook secret") -> bytes:
    """Return the bytes of a webhook secret: base64 after `whsec_`, else the text itself; errors name it by `place`."""
    if not text.startswith("whsec_"):
        return text.encode()
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise ConfigError(f"{place} is no base64 after whsec_", hint="copy it again") from error
    if not secret:  # anybody can sign with an empty key
        raise ConfigError(f"{place} has nothing after whsec_", hint="copy it again")
    return secret


def signature(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature header of a webhook message, with a signature per secret, so that secrets can be rotated."""
    signed_content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, signed_content, hashlib.sha256)).decode() for secret in secrets)
    return " ".join(f"v1,{text}" for text in signatures)
