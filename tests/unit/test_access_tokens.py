"""Access tokens: for how long one is used, who waits for a new one, and the request that it is had by."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest

from triage_cli.domain import NoTokenError, TokenRefusedError
from triage_cli.runtime import AccessTokens, ClientCredentials, HttpAnswer, HttpRequest, access_tokens


class Clock:
    """A monotonic clock that stands still, in place of the module's own."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(access_tokens, "time", stopped)
    return stopped


def tokens_of(*fetched: object) -> tuple[AccessTokens, list[int]]:
    """Return tokens that are had in turn, or errors that are raised; and a list that grows with each request."""
    asked: list[int] = []

    async def fetch() -> access_tokens.NewToken:
        asked.append(len(asked))
        await asyncio.sleep(0)
        result = fetched[min(len(asked), len(fetched)) - 1]
        if isinstance(result, Exception):
            raise result
        return access_tokens.NewToken(f"token-{len(asked)}", result)  # type: ignore[arg-type]

    return AccessTokens(fetch, "the client", ("ID", "SECRET")), asked


@pytest.mark.parametrize(
    ("life", "used_for"), [(3600.0, 3540.0), (121.0, 61.0), (120.0, 60.0), (90.0, 45.0), (2.0, 1.0), (None, 10.0**9)]
)
def test_a_token_is_used_for_its_life_less_a_minute(clock: Clock, life: float | None, used_for: float) -> None:
    async def use() -> None:
        assert await tokens.token() == "token-1"
        clock.now += used_for - 0.5
        assert await tokens.token() == "token-1"
        clock.now += 1.0
        assert await tokens.token() == ("token-1" if life is None else "token-2")

    tokens, _ = tokens_of(life)
    asyncio.run(use())


@pytest.mark.usefixtures("clock")
def test_all_wait_for_one_new_token_and_one_that_was_refused_since_is_no_reason_for_another() -> None:
    async def use() -> None:
        assert set(await asyncio.gather(*(tokens.token() for _ in range(16)))) == {"token-1"}
        assert set(await asyncio.gather(*(tokens.token("token-1") for _ in range(16)))) == {"token-2"}
        assert await tokens.token("token-1") == "token-2"

    tokens, asked = tokens_of(3600.0)
    asyncio.run(use())
    assert len(asked) == 2
    assert tokens.secrets == ("token-1", "token-2")


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (NoTokenError("no"), 1.0), (NoTokenError("no", retry_after=30.0), 30.0),
        (NoTokenError("no", retry_after=10.0**9), 3600.0), (TokenRefusedError("no"), 1.0),
    ],
)  # fmt: skip
def test_what_could_not_be_had_is_asked_for_again_after_a_pause(clock: Clock, error: Exception, pause: float) -> None:
    async def use() -> None:
        failures = await asyncio.gather(*(tokens.token() for _ in range(16)), return_exceptions=True)
        assert failures == [error] * 16
        clock.now += pause - 0.1
        with pytest.raises(type(error)):
            await tokens.token()
        clock.now += 0.2
        assert await tokens.token() == "token-2"

    tokens, asked = tokens_of(error, 3600.0)
    asyncio.run(use())
    assert len(asked) == 2


def test_a_wait_ends_when_its_time_has_come_and_the_token_is_there_for_the_next() -> None:
    async def use() -> None:
        with pytest.raises(NoTokenError, match="the client gave no token in time"):
            await tokens.token(until=asyncio.get_running_loop().time() - 1)
        assert await tokens.token() == "token-1"

    tokens, asked = tokens_of(3600.0)
    asyncio.run(use())
    assert len(asked) == 1


Send = Callable[[HttpRequest], Awaitable[HttpAnswer]]


@pytest.mark.parametrize(("statuses", "sent"), [([200], 1), ([401, 201], 2), ([401, 403], 2), ([403], 1), ([500], 1)])
def test_a_request_is_sent_again_only_after_401(statuses: list[int], sent: int) -> None:
    answers, proofs = iter(statuses), []

    async def send(request: HttpRequest) -> HttpAnswer:
        proofs.append(request.headers["authorization"])
        return HttpAnswer(next(answers), {})

    tokens, _ = tokens_of(3600.0)
    answer = asyncio.run(tokens.authorized(send, HttpRequest("GET", "https://x.example", {"x": "y"}), "desk"))
    assert answer.status == statuses[-1]
    assert proofs == [f"Bearer token-{n + 1}" for n in range(sent)]


CLIENT = ClientCredentials("https://t.example/token", "my id", "se:cret/é+", ("ID", "SECRET"))


def form_of(client: ClientCredentials) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((client.request.body or b"").decode()).items()}


def test_the_request_for_a_token() -> None:
    assert form_of(CLIENT) == {
        "grant_type": "client_credentials", "client_id": "my id", "client_secret": "se:cret/é+",
    }  # fmt: skip
    assert "authorization" not in CLIENT.request.headers
    basic = CLIENT._replace(is_basic=True, scope="a b", params=(("audience", "x"), ("grant_type", "other")))
    assert form_of(basic) == {"grant_type": "other", "scope": "a b", "audience": "x"}
    proof = basic.request.headers["authorization"].removeprefix("Basic ")
    assert b64decode(proof) == b"my%20id:se%3Acret%2F%C3%A9%2B", "each in the encoding of a form (RFC 6749, 2.3.1)"
    assert "cret" not in CLIENT.shown("it was se:cret/é+, or se%3Acret%2F%C3%A9%2B")


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3599, 3599.0), ("3599", 3599.0), (1.5, 1.5), (0, None), (-1, None), (True, None), (None, None), ("soon", None),
        ("nan", None), ("inf", None), ([], None), (10**400, None),
    ],
)  # fmt: skip
def test_the_life_of_a_token(expires_in: Any, seconds: float | None) -> None:
    body = json.dumps({"access_token": "t", "token_type": "bearer", "expires_in": expires_in}).encode()
    new_token = access_tokens.token_of(HttpAnswer(200, {}, body), "the server", CLIENT)
    assert new_token == ("t", seconds)
