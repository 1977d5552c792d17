"""Access tokens that expire: had when they are first needed, kept in memory alone, and shared by all who send with one.

They come from a token server by client credentials (RFC 6749, 4.4), or from a command that prints them. All of it
happens in the bridge's loop; threads wait for it there.
"""

import asyncio
import math
import re
import subprocess
import time
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from triage_cli import domain as dm
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.child_command import run_command
from triage_cli.runtime.http_exchange import Endpoint, HttpAnswer, HttpConnections, HttpRequest, exchange, host_of
from triage_cli.runtime.installation import USER_AGENT
from triage_cli.runtime.network import Network
from triage_cli.runtime.retry import retry_after

# Seconds in which a token server must answer, or a command print its token.
SECONDS = 30.0
# A token is renewed so many seconds before it expires, or at half of a life that is shorter than two of these.
EARLY = 60.0
# Seconds for which a token that could not be had is not asked for again, unless its server names a time.
PAUSE = 1.0
# The longest time, in seconds, that a server may name.
LONGEST_PAUSE = 3600.0
# The most characters that a token has: no server takes longer headers.
LONGEST_TOKEN = 16_384
# How many tokens are remembered, so that no message shows one: those before the present one may still be answered.
REMEMBERED = 16
# How many characters of a token server's reason are shown.
SHOWN = 200
UNAUTHORIZED = 401
# A token server's errors about a client that may not have a token in this way (RFC 6749, 5.2; OpenID Connect).
_OTHER_GRANT = frozenset(
    {
        "unsupported_grant_type",
        "unauthorized_client",
        "invalid_grant",
        "consent_required",
        "interaction_required",
        "login_required",
    }
)


class NewToken(NamedTuple):
    """A token that was just had, and for how many seconds it is good (None: until it is refused)."""

    text: str
    seconds: float | None = None


class AccessTokens:
    """The access token of one client; `fetch` gets a new one. Whoever needs a token waits for the same fetch.

    `client` names the client in messages, `variables` those of the environment that hold its secrets.
    """

    def __init__(
        self, fetch: Callable[[], Coroutine[Any, Any, NewToken]], client: str, variables: tuple[str, ...] = ()
    ) -> None:
        self.client = client
        self._fetch = fetch
        self._variables = variables
        self._token = ""
        self._good_until = math.inf
        self._fetching: asyncio.Task[str] | None = None
        self._failure: dm.NoTokenError | dm.TokenRefusedError | None = None
        self._paused_until = -math.inf
        self._had: deque[str] = deque(maxlen=REMEMBERED)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens of late, which no message may show."""
        return tuple(self._had)

    async def token(self, refused: str = "", until: float | None = None) -> str:
        """Return a token other than the one that was `refused`; one that is good is not had anew.

        Raises `NoTokenError` if it cannot be had for now, also when the monotonic time is `until`, and
        `TokenRefusedError`, `PrivateAddressError` or `ConfigError`.
        """
        if self._token and self._token != refused and time.monotonic() < self._good_until:
            return self._token
        if self._failure is not None and time.monotonic() < self._paused_until:
            raise self._failure
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._renew())
            self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(self._fetching)
        except TimeoutError as error:
            raise dm.NoTokenError(f"{self.client} gave no token in time", hint="try later") from error

    def waited_for(self, refused: str = "", until: float | None = None) -> str:
        """Return what `token` returns, to a thread other than the loop's."""
        return bridge().run(self.token(refused, until))

    async def _renew(self) -> str:
        try:
            new_token = await self._fetch()
        except (dm.NoTokenError, dm.TokenRefusedError) as error:
            pause = (error.retry_after if isinstance(error, dm.NoTokenError) else None) or PAUSE
            self._failure, self._paused_until = error, time.monotonic() + min(LONGEST_PAUSE, pause)
            raise
        finally:
            self._fetching = None
        life = math.inf if new_token.seconds is None else new_token.seconds
        self._good_until = time.monotonic() + max(life - EARLY, life / 2)
        self._failure = None
        self._token = new_token.text
        self._had.append(new_token.text)
        return new_token.text

    async def authorized(
        self, send: Callable[[HttpRequest], Awaitable[HttpAnswer]], request: HttpRequest, name: str
    ) -> HttpAnswer:
        """Send a request with the token; if that is refused with 401, once again with a new one.

        Raises what `token` and `send` raise, and `TokenRefusedError` if `name` refuses the new one, too.
        """
        token = await self.token(until=request.until)
        answer = await send(_with_token(request, token))
        if answer.status != UNAUTHORIZED:
            return answer
        token = await self.token(refused=token, until=request.until)
        answer = await send(_with_token(request, token))
        if answer.status == UNAUTHORIZED:
            raise self.refused_again(f"{name} refuses a new token of {self.client}, too ({UNAUTHORIZED})")
        return answer

    def refused_again(self, message: str) -> dm.TokenRefusedError:
        """Return the error about a token that is refused although it is new."""
        variables = f", and what {' and '.join(self._variables)} hold" if self._variables else ""
        return dm.TokenRefusedError(message, hint=f"check what the token is for (scope, audience){variables}")


def _with_token(request: HttpRequest, token: str) -> HttpRequest:
    return request._replace(headers={**request.headers, "authorization": f"Bearer {token}"})


class ClientCredentials(NamedTuple):
    """The secrets of a client, and the request by which its server gives a token for them.

    `variables` are those that hold id and secret; `guarded` refuses a server at a private address.
    """

    token_url: str
    client_id: str
    client_secret: str
    variables: tuple[str, str]
    scope: str = ""
    is_basic: bool = False
    params: tuple[tuple[str, str], ...] = ()
    guarded: bool = False

    @property
    def request(self) -> HttpRequest:
        """The request for a token; id and secret stand in its body, or in the header Authorization."""
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "user-agent": USER_AGENT,
        }
        if self.is_basic:
            headers["authorization"] = f"Basic {self._basic}"
        else:
            form |= {"client_id": self.client_id, "client_secret": self.client_secret}
        return HttpRequest("POST", self.token_url, headers, urlencode({**form, **dict(self.params)}).encode())

    @property
    def _basic(self) -> str:
        """Id and secret as in the header: each in the encoding of a form first (RFC 6749, 2.3.1)."""
        return b64encode(f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}".encode()).decode()

    def shown(self, text: str) -> str:
        """Return the beginning of what a token server says, on one line and without the secrets."""
        hidden = dm.hide_secrets(text, (self.client_secret, self._basic, self.client_id))
        return " ".join(dm.encodable(hidden).split())[:SHOWN].strip()


class TokenCommand(NamedTuple):
    """A command that prints a token, and its whole environment."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


@cache
def client_tokens(client: ClientCredentials, network: Network) -> AccessTokens:
    """Return the tokens of a client, the same ones to all who send as this client."""

    async def fetch() -> NewToken:
        endpoint = Endpoint(server, "", SECONDS, SECONDS, client.guarded)
        connections = HttpConnections(network, server)
        try:
            answer = await exchange(connections, endpoint, client.request, network.resolve)
        except dm.DeliveryError as error:
            raise dm.NoTokenError(error.message, hint="try later") from error
        finally:
            await connections.aclose()
        return _token_of(answer, server, client)

    server = f"the token server {host_of(client.token_url)}"
    return AccessTokens(fetch, server, client.variables)


def _token_of(answer: HttpAnswer, server: str, client: ClientCredentials) -> NewToken:
    """Return the token that a token server's answer has (RFC 6749, 5.1). Raises the error for any other answer."""
    status = answer.status
    if answer.is_transient:
        wait = retry_after(answer.headers, time.time())
        raise dm.NoTokenError(f"{server} answered {status}", hint="try later", retry_after=wait)
    if 300 <= status < 400:
        target = client.shown("".join(answer.target))
        raise dm.TokenRefusedError(
            f"{server} redirects{target and f' to {target}'}, which is not followed",
            hint="name in token_url where it leads",
        )
    content: Any = None
    if answer.complete:
        with suppress(ValueError):
            content = dm.foreign(answer.body)
    fields: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    if not 200 <= status < 300 or "error" in fields:
        raise _refusal(status, fields, server, client)
    token, kind = fields.get("access_token"), fields.get("token_type", "Bearer")
    if not _is_token(token) or not isinstance(kind, str) or not kind.lower().startswith("bearer"):
        raise dm.TokenRefusedError(
            f"{server} answered {status} without a bearer token",
            hint="check token_url; where a token is had in another way, bearer_command runs a program that prints it",
        )
    return NewToken(str(token), _seconds(fields.get("expires_in")))


def _refusal(status: int, fields: Mapping[str, Any], server: str, client: ClientCredentials) -> dm.TokenRefusedError:
    """Return the error for a token server that refuses: what it says, and what helps."""
    if status == 404:
        return dm.TokenRefusedError(f"{server} gives no tokens at this address (404)", hint="check token_url")
    reasons = [text for key in ("error", "error_description") if isinstance(text := fields.get(key), str)]
    reason = client.shown(": ".join(reasons))
    code = reasons[0] if reasons else ""
    why = f"{server} refuses the client ({status}{reason and f', {reason}'})"
    if code in _OTHER_GRANT or re.search(r"refresh.?token", " ".join(reasons), re.IGNORECASE):
        hint = (
            "where it wants a refresh token or a person's consent, "
            "bearer_command runs a program of yours that has it and prints a token"
        )
        return dm.TokenRefusedError(why, hint=hint)
    hint = f"check what {' and '.join(client.variables)} hold, token_url, scope, and send: basic or body"
    return dm.TokenRefusedError(why, hint=hint)


def _is_token(text: object) -> bool:
    """Return whether something can be sent as a token, in a header that servers take."""
    return isinstance(text, str) and len(text) <= LONGEST_TOKEN and dm.is_credential(text)


def _seconds(expires_in: object) -> float | None:
    """Return the seconds of `expires_in`; some servers write them as a text. None if there are none."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return seconds if not isinstance(expires_in, bool) and 0 < seconds < math.inf else None


@cache
def printed_tokens(source: TokenCommand) -> AccessTokens:
    """Return the tokens that a command prints, the same ones to all who send with them."""
    program = source.command[0]

    async def fetch() -> NewToken:
        return await asyncio.to_thread(_printed_token, source)

    return AccessTokens(fetch, program)


def _printed_token(source: TokenCommand) -> NewToken:
    """Run a command; the first line of its output is the token. The output is never shown."""
    program = source.command[0]
    try:
        exit_code, output = run_command(
            source.command, b"", SECONDS, dict(source.env), keep="stdout", most=LONGEST_TOKEN + 2
        )
    except subprocess.TimeoutExpired as error:
        raise dm.NoTokenError(f"{program} printed no token within {SECONDS:g} s", hint="run it by itself") from error
    except OSError as error:
        why = error.strerror or "the system says no more"
        raise dm.TokenRefusedError(f"cannot run {program}: {why}", hint="check its path and its rights") from error
    if exit_code:
        raise dm.TokenRefusedError(f"{program} exited with {exit_code} instead of a token", hint="run it by itself")
    token = next(iter(output.decode("utf-8", "replace").splitlines()), "").strip()
    if not _is_token(token):
        raise dm.TokenRefusedError(
            f"{program} printed no token in its first line", hint="run it by itself; nothing else may be printed first"
        )
    return NewToken(token)
