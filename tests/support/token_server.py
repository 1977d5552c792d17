"""A token server on 127.0.0.1 (RFC 6749), and the judgement of what comes with its tokens."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.support.cli import Cli
from tests.support.commands import rows
from tests.support.http_stub import Got, HttpStub, Reply

CLIENT_ID, CLIENT_SECRET = "canary-client-1", "canary:secret/2 +é~"
ENV = {"CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET}


class TokenServer:
    """Gives `canary-token-N` to the client alone; `replies` are taken first, one a request.

    `life` is the `expires_in` of a token; one is good until the next `expire`.
    """

    def __init__(self, *, life: Any = 3600, scope: str | None = None) -> None:
        self.given: list[str] = []
        self.replies: list[Reply] = []
        self.life = life
        self._scope = scope
        self._good: set[str] = set()
        self._lock = threading.Lock()
        self.stub = HttpStub(self._answer)

    @property
    def url(self) -> str:
        return f"{self.stub.root}/token"

    @property
    def asked(self) -> int:
        """How many requests for a token came."""
        return len(self.stub.got)

    @property
    def canaries(self) -> list[str]:
        """What nothing may show: secrets and tokens, as they are and as they go over the wire."""
        basic = self.stub.got[-1].headers.get("authorization", "").removeprefix("Basic ") if self.stub.got else ""
        return [CLIENT_SECRET, "canary-client", "canary-token", *([basic] if basic else [])]

    def oauth2(self, more: str = "") -> str:
        """Return the `auth` of a configuration."""
        names = "client_id_env: CLIENT_ID, client_secret_env: CLIENT_SECRET"
        return f"{{oauth2: {{token_url: '{self.url}', {names}{', ' + more if more else ''}}}}}"

    def expire(self) -> None:
        """Let every token that was given be refused from now on."""
        with self._lock:
            self._good.clear()

    def allow(self, token: str) -> None:
        """Accept a token that was had elsewhere."""
        with self._lock:
            self._good.add(token)

    def accepts(self, header: str) -> bool:
        """Return whether a request with this header Authorization is that of the client."""
        scheme, _, token = header.partition(" ")
        with self._lock:
            return scheme == "Bearer" and token in self._good

    def _answer(self, got: Got) -> Reply:
        with self._lock:
            if self.replies:
                return self.replies.pop(0)
            form = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
            if form.get("grant_type") != "client_credentials":
                return Reply(400, json.dumps({"error": "unsupported_grant_type"}))
            if (self._scope or form.get("scope")) != form.get("scope"):
                return Reply(400, json.dumps({"error": "invalid_scope"}))
            if _credentials(got, form) != (CLIENT_ID, CLIENT_SECRET):
                return Reply(401, json.dumps({"error": "invalid_client"}))
            token = f"canary-token-{len(self.given) + 1}"
            self.given.append(token)
            self._good.add(token)
            life = {} if self.life is None else {"expires_in": self.life}
            return Reply(200, json.dumps({"access_token": token, "token_type": "Bearer", **life}))


def _credentials(got: Got, form: dict[str, str]) -> tuple[str, str]:
    """Return id and secret of a request; in the header each stands in the encoding of a form (RFC 6749, 2.3.1)."""
    header = got.headers.get("authorization", "")
    if header.startswith("Basic "):
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        return unquote(user), unquote(password)
    return form.get("client_id", ""), form.get("client_secret", "")


def classified(cli: Cli, number: int) -> None:
    """Store so many tickets that a person has given a category."""
    tickets = "".join(f"T-{n},I was charged twice for invoice {n}\n" for n in range(number))
    assert cli("create", "-", "-q", stdin=f"id,subject\n{tickets}").returncode == 0
    verdicts = "".join(f"T-{n},Billing\n" for n in range(number))
    assert cli("verdict", "-", "-q", stdin=f"ticket_id,category\n{verdicts}").returncode == 0


def deliveries(cli: Cli) -> Counter[tuple[str, int]]:
    """Count deliveries by their state and the number of attempts."""
    return Counter(rows(cli.db, "select state, attempts from deliveries"))


@contextmanager
def token_server(**options: Any) -> Iterator[TokenServer]:
    """Run a token server while the block lasts."""
    server = TokenServer(**options)
    try:
        yield server
    finally:
        server.stub.close()
