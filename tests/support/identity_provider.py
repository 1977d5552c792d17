"""An identity provider on 127.0.0.1: it publishes its keys, and signs tokens with them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class IdentityProvider:
    """Keys by their ids; `answers` replaces what is answered at a path, `asked` counts requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Key] = {"first": rsa.generate_private_key(65_537, 2048)}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def token(self, key_id: str = "first", *, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a signed token; a claim of None is left out."""
        given = {
            "iss": self.url, "aud": "triage", "sub": "ada-1", "exp": time.time() + 300, "iat": time.time(),
            "preferred_username": "ada", "realm_access": {"roles": ["support"]},
        } | claims  # fmt: skip
        given = {name: value for name, value in given.items() if value is not None}
        key = self.keys[key_id]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(given, key, algorithm=algorithm, headers={"kid": key_id, **(head or {})})

    def public_pem(self) -> bytes:
        """Return the first public key, which anybody can have."""
        return self.keys["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return the answer at a path."""
        with self.lock:
            self.asked.append(path)
            if path in self.answers:
                return self.answers[path]
            if path == "/.well-known/openid-configuration":
                return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
            published = [{**_published(key), "kid": key_id, "use": "sig"} for key_id, key in self.keys.items()]
            return 200, json.dumps({"keys": published}).encode()


def _published(key: Key) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        return dict(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True))


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Run a provider while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = provider.answer(self.path)
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"{provider.url}/keys")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # the other side has read enough
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = IdentityProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
