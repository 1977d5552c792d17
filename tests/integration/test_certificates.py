"""Which certificate authorities are trusted: the system's and the environment's, for every kind of connection."""

import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.batch_server import BatchServer, running_batch_server
from tests.support.certificate_authority import Authority
from tests.support.cli import Cli
from tests.support.commands import until
from tests.support.llm_server import LlmServer, running_llm_server
from tests.support.local_server import LocalServer
from tests.support.online import ONLINE
from tests.support.records import replace
from tests.support.webhook_receiver import Receiver, outgoing, sent, target
from triage_cli import domain as dm
from triage_cli.extensions.http import WebhookDestination
from triage_cli.runtime import trust

TICKET = "subject,description\nRefund,I was charged twice on my invoice\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.context()


@pytest.fixture
def receiver(context: ssl.SSLContext) -> Iterator[Receiver]:
    it = Receiver()
    it.speak_tls(context)
    it.url = f"{it.root}/hook"
    yield it
    it.close()


# -- each kind of server that is connected to, as a user configures it


class Peer(NamedTuple):
    """A server, the configuration and the command that connect to it, and how often it was reached."""

    server: LocalServer
    config: Callable[[str], str]
    args: tuple[str, ...]
    reached: Callable[[], int]


def model_at(kind: str, more: str) -> Callable[[str], str]:
    """Return what makes the configuration of a language model that needs no key from its server's address."""
    path = "" if kind == "anthropic" else "/v1"

    def config(root: str) -> str:
        return f"classifiers: {{m: {{type: {kind}, model: m, base_url: '{root}{path}', api_key_env: null, {more}}}}}\n"

    return config


def question_spec(server: LlmServer, kind: str) -> Peer:
    config = model_at(kind, "price: {input: 1, output: 1}, max_retries: 0")
    return Peer(server, config, ("run", "-q", "-", "--max-wait", "0s"), lambda: len(server.asked))


def a_batch(server: BatchServer, kind: str) -> Peer:
    config = model_at(kind, "max_retries: 0")
    return Peer(server, config, ("classify", "-q", "--batch", "--max-wait", "0s"), lambda: len(server.batches))


def a_webhook(receiver: Receiver) -> Peer:
    def config(root: str) -> str:
        hook = f"{{type: webhook, url: '{root}/hook', max_attempts: 1}}"
        return f"destinations: {{hook: {hook}}}\nroutes: [{{to: hook}}]\n"

    return Peer(receiver, config, ("run", "-q", "-"), lambda: len(receiver.got))


@pytest.fixture(params=["webhook", "openai", "anthropic", "decision", "openai batch", "anthropic batch"])
def peer(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Iterator[Peer]:
    kind, _, batch = request.param.partition(" ")
    if kind == "webhook":
        hook = Receiver()
        hook.speak_tls(context)
        yield a_webhook(hook)
        hook.close()
    elif batch:
        with running_batch_server() as batches:
            batches.speak_tls(context)
            yield a_batch(batches, kind)
    else:
        with running_llm_server() as models:
            models.speak_tls(context)
            yield question_spec(models, kind)


def configured(cli: Cli, peer: Peer, host: str) -> None:
    (cli.folder / "config.yaml").write_text(peer.config(f"https://{host}:{peer.server.port}"))
    if "--batch" in peer.args:
        assert cli("create", "-q", stdin=TICKET).returncode == 0


@pytest.mark.parametrize(
    ("host", "by"), [("localhost", "SSL_CERT_FILE"), ("127.0.0.1", "SSL_CERT_FILE"), ("127.0.0.1", "SSL_CERT_DIR")]
)
def test_a_private_authority_that_the_environment_names_is_trusted(
    fitted: Cli, authority: Authority, peer: Peer, host: str, by: str
) -> None:
    configured(fitted, peer, host)
    named = {by: str(authority.file if by == "SSL_CERT_FILE" else authority.directory())}
    done = fitted(*peer.args, stdin=TICKET, **named)
    assert done.returncode == 0, done.stderr
    assert peer.reached() == 1


def test_an_authority_that_nobody_names_is_not_trusted(fitted: Cli, peer: Peer) -> None:
    configured(fitted, peer, "localhost")
    done = fitted(*peer.args, stdin=TICKET)
    assert (done.returncode, peer.reached()) in ((3, 0), (6, 0))
    assert "its certificate is not trusted (SSL_CERT_FILE names your own authority)" in done.stderr


# -- a remote


@pytest.fixture(scope="module")
def remote(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, int]]:
    """A server that speaks TLS, as the client's command line knows it, and its port."""
    cli = Cli(tmp_path_factory.mktemp("remote"))
    made = cli("keys", "create", "ada", "--role", "agent", "-o", "json")
    cli.env["TRIAGE_API_KEY"] = json.loads(made.stdout)["key"]
    certificate, key = authority.vouch()
    log = cli.folder / "serve.log"
    options = ("--port", "0", "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    with log.open("wb") as log_file:
        process = cli.start("serve", *options, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log_file)
    try:
        until(lambda: b"serving " in log.read_bytes() or process.poll(), "the server")
        yield cli, int(re.findall(r"serving https://127.0.0.1:(\d+)", log.read_text())[0])
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_remote_on_this_machine_is_reached_by_an_authority_of_ones_own(
    remote: tuple[Cli, int], authority: Authority, host: str
) -> None:
    cli, port = remote
    args = ("--remote", f"https://{host}:{port}", "stats", "-o", "json")
    done = cli(*args, SSL_CERT_FILE=str(authority.file), HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    refused = cli(*args)
    assert refused.returncode == 6
    assert "its certificate is not trusted (SSL_CERT_FILE names your own authority)" in refused.stderr


def test_http_where_the_server_speaks_tls_is_told_so(remote: tuple[Cli, int]) -> None:
    cli, port = remote
    done = cli("--remote", f"http://127.0.0.1:{port}", "stats")
    assert done.returncode == 6
    assert f"give --remote https://127.0.0.1:{port} if the server speaks TLS" in done.stderr


# -- what is trusted


def test_one_that_is_named_shuts_out_none_of_the_system(
    receiver: Receiver, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL itself takes what is named in the place of the system's."""
    paths = ssl.get_default_verify_paths()
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: replace(paths, openssl_cafile=str(authority.file)))
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "another").file))
    (outcome,) = sent(WebhookDestination(target(f"https://localhost:{receiver.port}/"), ONLINE), outgoing())
    assert outcome.error is None


@pytest.mark.parametrize("names", [("DNS:elsewhere.example",), ("IP:127.0.0.2",)])
def test_a_certificate_of_another_name_is_refused_and_told_so(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    receiver = Receiver()
    receiver.speak_tls(authority.context(*names))
    (outcome,) = sent(WebhookDestination(target(f"https://127.0.0.1:{receiver.port}/"), ONLINE), outgoing())
    receiver.close()
    assert receiver.got == []
    assert outcome.error is not None
    assert "certificate is not valid for '127.0.0.1'" in outcome.error.message


def test_authorities_that_cannot_be_read_are_told_and_cost_no_attempt(fitted: Cli, receiver: Receiver) -> None:
    (fitted.folder / "config.yaml").write_text(a_webhook(receiver).config(receiver.root))
    (fitted.folder / "empty.pem").write_text("nothing\n")
    assert fitted("create", "-q", stdin=TICKET).returncode == 0
    assert fitted("classify", "-q").returncode == 0
    for name, why in (("nowhere.pem", "No such file"), ("empty.pem", "no certificate in it")):
        done = fitted("route", SSL_CERT_FILE=name)
        assert done.returncode == 2
        assert f"SSL_CERT_FILE names {name}, which cannot be used: {why}" in done.stderr
    (ticket,) = map(json.loads, fitted("list").stdout.splitlines())
    assert ticket["status"] == "routing"
    (delivery,) = json.loads(fitted("show", ticket["ticket_id"]).stdout)["deliveries"]
    assert delivery["attempts"] == 0


def test_no_proxy_stands_between_us_and_a_webhook(
    receiver: Receiver, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve the name anew, past the guard of addresses, and a .netrc adds what nobody configured."""
    plain = Receiver()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for to in (plain, receiver):
        (outcome,) = sent(WebhookDestination(target(f"{to.root}/hook"), ONLINE), outgoing())
        assert outcome.error is None
        ((headers, _),) = to.got
        assert "authorization" not in headers
    plain.close()


def test_what_is_trusted_is_looked_at_only_where_a_connection_is_made(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("create", "-q", "--subject", "x", SSL_CERT_FILE="nowhere.pem").returncode == 0
    assert cli("logs", SSL_CERT_FILE="nowhere.pem").returncode == 0
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    with pytest.raises(dm.ConfigError, match=r"nowhere\.pem"):
        trust()


# -- a proxy of the environment that cannot be used

PROXIED = (
    "classifiers:\n"
    "  m: {type: openai, model: m, base_url: 'https://a.example/v1', api_key_env: null, price: {input: 1, output: 1}}\n"
    "  c: {type: anthropic, model: m, base_url: 'https://a.example', api_key_env: null, price: {input: 1, output: 1}}\n"
)


@pytest.mark.parametrize(
    ("name", "proxy", "why"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "SOCKS needs the package socksio"),
        ("https_proxy", "foo://127.0.0.1:9", "it is no http proxy's address"),
        ("HTTPS_PROXY", "http://127.0.0.1:port", "it is no http proxy's address"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_mistake_of_the_configuration(
    fitted: Cli, name: str, proxy: str, why: str
) -> None:
    (fitted.folder / "config.yaml").write_text(PROXIED)
    assert fitted("create", "-q", stdin=TICKET).returncode == 0
    for args in (
        ("stats", "--remote", "https://a.example"),
        ("classify", "-q", "--classifier", "m"),
        ("classify", "-q", "--classifier", "c"),
    ):
        done = fitted(*args, **{name: proxy, "TRIAGE_API_KEY": "key"})
        assert done.returncode == 2
        assert f"{name} names a proxy that cannot be used for a.example: {why}" in done.stderr


@pytest.mark.parametrize(
    "env",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": "0.0.0.0"},  # noqa: S104 - an address to connect to
        {"ALL_PROXY": "socks5://127.0.0.1:9", "HTTPS_PROXY": "127.0.0.1:9"},
        {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "[::1]"},  # httpx cannot read it
        {"HTTP_PROXY": "foo://127.0.0.1:9"},
    ],
)
def test_one_that_is_not_used_stops_nothing(cli: Cli, env: dict[str, str]) -> None:
    # This machine, by an address that proxies may stand before.
    done = cli("stats", "--remote", "https://0.0.0.0:9", TRIAGE_API_KEY="key", **env)
    assert done.returncode == 6, done.stderr
    assert "it refuses connections" in done.stderr
