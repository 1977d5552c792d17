"""Tokens of an identity provider beside API keys: which role and name they give, and what is refused."""

import base64
import json
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.api_server import UNENCRYPTED, ApiServer, running_server
from tests.support.commands import PATIENCE
from tests.support.identity_provider import IdentityProvider, identity_provider
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.config import OidcSpec, load_config
from triage_cli.extensions.remote import RemoteTriage, checked_address
from triage_cli.extensions.server import ENDPOINT_THREADS, TokenVerifier, token_verification, token_verifier
from triage_cli.runtime import Network

CONFIG = """server:
  oidc:
    issuer: {url}
    audience: triage
    roles: {{claim: realm_access.roles, map: {{boss: admin, support: agent, looker: reader}}}}
"""


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, provider: IdentityProvider) -> Iterator[ApiServer]:
    with running_server(tmp_path, config=CONFIG.format(url=provider.url)) as running:
        yield running


def ask(server: ApiServer, token: str, method: str = "GET", path: str = "/stats", **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, server.url + path, headers=headers, trust_env=False, verify=UNENCRYPTED, **options)


def roles(*names: str) -> dict[str, Any]:
    return {"realm_access": {"roles": list(names)}}


def unsigned(provider: IdentityProvider, **head: Any) -> str:
    """Return a token without a signature."""
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    parts = [{"alg": "none", "kid": "first", **head}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def forged(provider: IdentityProvider) -> str:
    """Return a token that is signed with another key under the name of theirs."""
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    other = rsa.generate_private_key(65_537, 2048)
    return jwt.encode(claims, other, algorithm="RS256", headers={"kid": "first"})


def with_public_key_as_secret(provider: IdentityProvider) -> str:
    """Return a token with an HMAC whose secret is the provider's public key."""
    parts = unsigned(provider, alg="HS256").rsplit(".", 1)[0]
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = algorithm.sign(parts.encode(), provider.public_pem())
    return f"{parts}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_a_token_gives_its_role_and_its_name_to_the_log(server: ApiServer, provider: IdentityProvider) -> None:
    made = ask(server, provider.token(), "POST", "/tickets", json={"subject": "Refund?"})
    assert made.status_code == 201
    assert ask(server, provider.token(**roles("looker")), "POST", "/tickets", json={}).status_code == 403
    assert ask(server, provider.token(**roles("looker")), path="/tickets").status_code == 200
    assert ask(server, provider.token(**roles("looker", "boss")), path="/keys").status_code == 200
    (event,) = ask(server, provider.token(), path="/logs", params={"action": "created"}).json()
    assert event["actor"] == "oidc:ada"
    key = httpx.get(f"{server.url}/stats", headers={"X-API-Key": provider.token()}, trust_env=False)
    assert key.status_code == 200


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": time.time() - 3600}, "expired"),
        ({"aud": "another"}, "another audience"),
        ({"aud": None}, "lacks a claim"),
        ({"iss": "https://elsewhere.example"}, "another issuer"),
        ({"nbf": time.time() + 3600}, "not valid yet"),
        ({"exp": None}, "lacks a claim"),
        ({"sub": None}, "lacks a claim"),
        ({"head": {"kid": "nobody"}}, "unknown key"),
        ({"head": {"jku": "https://elsewhere.example/keys"}}, "not signed as it must be"),
        ({"head": {"crit": ["exp"]}}, "cannot be read"),
    ],
)
def test_a_token_that_proves_nothing_is_refused(
    server: ApiServer, provider: IdentityProvider, claims: dict[str, Any], reason: str
) -> None:
    answer = ask(server, provider.token(**claims))
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert reason in answer.json()["detail"]
    assert answer.headers["www-authenticate"]


@pytest.mark.parametrize("make", [forged, unsigned, with_public_key_as_secret])
def test_a_token_that_the_provider_did_not_sign_is_refused(
    server: ApiServer, provider: IdentityProvider, make: Any
) -> None:
    assert ask(server, provider.token()).status_code == 200
    assert ask(server, make(provider)).status_code == 401


@pytest.mark.parametrize("token", ["a.b.c", "..", "e30.e30.e30", "a." * 20_000, "é.b.c".encode().decode("latin-1")])
def test_what_is_no_token_is_refused(server: ApiServer, token: str) -> None:
    headers = {b"authorization": b"Bearer " + token.encode("latin-1")}
    assert httpx.get(f"{server.url}/stats", headers=headers, trust_env=False).status_code in (401, 431)


def test_a_token_without_a_role_is_told_so(server: ApiServer, provider: IdentityProvider) -> None:
    for claims in (roles("other"), roles(), {"realm_access": None}, {"realm_access": {"roles": 7}}):
        answer = ask(server, provider.token(**claims))
        assert (answer.status_code, answer.json()["code"]) == (403, "refused"), claims


@pytest.mark.parametrize(
    ("claim", "value", "role"),
    [
        ("scope", "openid support", "agent"),  # as OAuth 2 itself has it (RFC 8693, 9068)
        ("scp", "looker support", "agent"),
        ("realm.scp", "support", "agent"),
        ("scp", ["openid", "looker"], "reader"),
        ("groups", "support", "agent"),
        ("groups", "no support", None),  # a sentence is no list of rights
        ("scope", "openid supporter", None),
        ("scope", ["openid support"], None),
    ],
)
def test_rights_are_a_list_a_word_or_scopes_in_one_string(
    provider: IdentityProvider, claim: str, value: object, role: str | None
) -> None:
    spec = OidcSpec(provider.url, ("triage",), claim, {"support": "agent", "looker": "reader"}, ("sub",))
    path, _, name = claim.rpartition(".")
    verifier = TokenVerifier(spec, lambda address: json.loads(provider.answer(address.removeprefix(provider.url))[1]))
    token = provider.token(**({path: {name: value}} if path else {name: value}))
    if role is None:
        with pytest.raises(dm.RefusedError, match="gives no role"):
            verifier.caller(token)
    else:
        assert verifier.caller(token).role == role


def test_an_opaque_token_is_told_what_it_lacks(server: ApiServer, tmp_path: Path) -> None:
    """Without an audience, many providers give one that they alone can read."""
    answer = ask(server, "Zx81-opaque_token")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "neither a key nor a token that can be read" in answer.json()["detail"]
    assert 'audience "triage"' in answer.json()["hint"]
    mistyped = ask(server, server.keys["agent"][:-1] + "_")
    assert mistyped.json()["detail"] == "no such key"
    (tmp_path / "plain").mkdir()
    with running_server(tmp_path / "plain") as without_provider:
        assert ask(without_provider, "Zx81-opaque_token").json()["detail"] == "no such key"


def test_an_actors_name_is_printable_and_short(server: ApiServer, provider: IdentityProvider) -> None:
    ask(server, provider.token(preferred_username="a\x1b[2J\n" + "x" * 500), "POST", "/tickets", json={"subject": "A"})
    (event,) = ask(server, provider.token(), path="/logs", params={"action": "created"}).json()
    assert event["actor"].isprintable()
    assert len(event["actor"]) <= 90


def test_keys_are_kept_and_those_of_a_rotation_are_found(
    server: ApiServer, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [ask(server, provider.token()).status_code for _ in range(3)] == [200] * 3
    assert len(provider.asked) == 2
    provider.keys["second"] = ec.generate_private_key(ec.SECP256R1())
    assert ask(server, provider.token("second")).status_code == 401, "asked for less than a minute ago"
    assert len(provider.asked) == 2
    monkeypatch.setattr(token_verifier, "UNKNOWN_KEY_PAUSE", 0.0)
    assert ask(server, provider.token("second")).status_code == 200
    del provider.keys["first"]
    monkeypatch.setattr(token_verifier, "KEYS_KEPT", 0.0)
    provider.keys["third"] = rsa.generate_private_key(65_537, 2048)
    assert ask(server, provider.token("third")).status_code == 200


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/keys", (500, b"")),
        ("/keys", (302, b"")),
        ("/keys", (200, b"no json")),
        ("/keys", (200, b"[" * 100_000)),
        ("/keys", (200, b" " * (1 << 19))),
        ("/.well-known/openid-configuration", (404, b"")),
        (
            "/.well-known/openid-configuration",
            (200, b'{"issuer": "https://elsewhere.example", "jwks_uri": "https://x"}'),
        ),
        ("/.well-known/openid-configuration", (200, b"[]")),
    ],
)
def test_while_keys_cannot_be_had_tokens_wait_and_our_own_keys_go_on(
    server: ApiServer, provider: IdentityProvider, path: str, answer: tuple[int, bytes]
) -> None:
    provider.answers[path] = answer
    for _ in range(2):
        refused = ask(server, provider.token())
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert len(provider.asked) <= 2, "the second one did not ask again"
    with server.client("reader") as client:
        assert client.get("/stats").status_code == 200


def test_keys_at_an_address_that_could_be_changed_on_the_way_are_not_taken(
    server: ApiServer, provider: IdentityProvider
) -> None:
    described = {"issuer": provider.url, "jwks_uri": "http://login.example.com/keys"}
    provider.answers["/.well-known/openid-configuration"] = (200, json.dumps(described).encode())
    assert ask(server, provider.token()).status_code == 503


def test_the_log_says_why_the_keys_cannot_be_had_and_the_answer_where_to_look(
    server: ApiServer, provider: IdentityProvider, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers without a good token are not told which hosts and proxies there are."""
    provider.answers["/keys"] = (500, b"")
    refused = ask(server, provider.token())
    assert (refused.status_code, refused.json()["hint"].startswith("the server's log says why")) == (503, True)
    assert caplog.messages == ["no token can be checked: the identity provider answered 500"]
    monkeypatch.setattr(token_verifier, "FAILED_FETCH_PAUSE", 0.0)
    provider.answers["/keys"] = (200, b"no json")
    ask(server, provider.token())
    assert caplog.messages[1:] == ["no token can be checked: the identity provider gave no JSON"]


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("http://127.0.0.1:9", "the identity provider cannot be reached by HTTP_PROXY at 127.0.0.1:9: it refuses"),
        ("socks5://me:secret@127.0.0.1:9", "SOCKS needs the package socksio"),
    ],
)
def test_a_bad_proxy_before_the_identity_provider_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, proxy: str, why: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    spec = OidcSpec("http://login.example.com", ("triage",), "roles", {"*": "reader"})
    verifier = TokenVerifier(spec, token_verifier.json_fetcher(Network(offline=False)))
    with identity_provider() as provider, pytest.raises(dm.UnavailableError):
        verifier.caller(provider.token())
    assert (len(caplog.messages), why in caplog.text, "secret" in caplog.text) == (1, True, False)


def test_a_proxy_that_cannot_be_used_is_a_mistake_before_the_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    (tmp_path / "config.yaml").write_text(CONFIG.format(url="https://login.example.com"))
    config = load_config(db=str(tmp_path / "triage.db"), env={"HOME": str(tmp_path)}, cwd=tmp_path)
    with pytest.raises(dm.ConfigError, match=r"HTTPS_PROXY names a proxy that cannot be used for login\.example\.com"):
        token_verification(config)
    assert token_verification(replace(config, offline=True))


def test_a_provider_that_does_not_answer_holds_up_nobody_else(
    server: ApiServer, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_verifier, "FETCH_TIMEOUT", 0.5)
    answers: list[int] = []
    with provider.lock:  # the provider waits for it too
        asking_thread = threading.Thread(target=lambda: answers.append(ask(server, provider.token()).status_code))
        asking_thread.start()
        with server.client("reader", timeout=30) as client:
            assert client.get("/stats").status_code == 200
        asking_thread.join(60)
    assert answers == [503]


def test_a_provider_whose_answer_drips_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_verifier, "FETCH_DEADLINE", 0.2)
    over, drops = threading.Event(), iter(range(400))

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n")
            for _ in drops:
                client.sendall(b" ")
                if over.wait(0.05):
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        with pytest.raises(dm.UnavailableError, match="has no end"):
            token_verifier.json_fetcher(Network(offline=False))(f"http://127.0.0.1:{listener.getsockname()[1]}/keys")
        over.set()
    assert next(drops, None) is not None, "before all of it has come"


def test_tokens_that_wait_for_a_provider_leave_threads_to_all_others(
    server: ApiServer, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can send tokens that name a key which nobody knows."""
    monkeypatch.setattr(token_verifier, "FETCH_PATIENCE", 2 * PATIENCE)
    monkeypatch.setattr(token_verifier, "FETCH_TIMEOUT", 3 * PATIENCE)
    token = provider.token(head={"kid": "nobody's"})
    with ThreadPoolExecutor(ENDPOINT_THREADS) as pool, server.client() as client, provider.lock:  # it waits, too
        waiting = [pool.submit(ask, server, token, timeout=3 * PATIENCE) for _ in range(ENDPOINT_THREADS)]
        refused = next(as_completed(waiting, PATIENCE)).result()
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert client.get("/stats").status_code == 200


def test_a_remote_gets_its_tokens_by_a_command_anew_when_one_has_expired(
    server: ApiServer, provider: IdentityProvider, tmp_path: Path
) -> None:
    """The command is run at the start, and once more for each token that is no longer taken."""
    runs, token = tmp_path / "runs", tmp_path / "token"
    token.write_text(provider.token(exp=time.time() - 3600) + "\n")
    fresh = tmp_path / "fresh"
    fresh.write_text(provider.token())
    script = f"echo >> {runs}; cat {token}; mv {fresh} {token} 2> /dev/null || true"
    address = checked_address(server.url, "", token_command=f"sh -c {shlex.quote(script)}", insecure=False)
    with closing(RemoteTriage(address, Network(offline=False))) as triage:
        assert triage.stats().tickets == 0
        assert triage.stats().tickets == 0
    assert runs.read_text() == "\n\n"


def test_a_token_that_is_never_taken_is_asked_for_once_more_and_then_told(
    server: ApiServer, provider: IdentityProvider, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    script = f"echo >> {runs}; echo {provider.token(aud='another')}"
    address = checked_address(server.url, "", token_command=f"sh -c {shlex.quote(script)}", insecure=False)
    with (
        closing(RemoteTriage(address, Network(offline=False))) as triage,
        pytest.raises(dm.RefusedError, match="audience"),
    ):
        triage.stats()
    assert runs.read_text() == "\n\n"


@pytest.mark.parametrize(
    ("command", "kind", "message"),
    [
        ("false", dm.RefusedError, "ended with 1"),
        ("true", dm.RefusedError, "no valid token"),
        ("echo two words", dm.RefusedError, "no valid token"),
        ("no-such-program-here", dm.UsageError, "cannot be run"),
        ("'", dm.UsageError, "cannot be run"),
        (" ", dm.UsageError, "cannot be run"),
    ],
)
def test_a_command_that_gives_no_token_is_told(command: str, kind: type[dm.TriageError], message: str) -> None:
    with pytest.raises(kind, match=message):
        checked_address("https://triage.example", "", token_command=command, insecure=False)
