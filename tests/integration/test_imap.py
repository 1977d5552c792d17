"""Sources of type `imap` against a real IMAP server."""

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificate_authority import Authority
from tests.support.imap_server import PASSWORD, USER, ImapServer, encrypted, running_imap_server
from tests.support.mails import mail
from tests.support.online import ONLINE
from tests.support.ports import number_of, reserve_port
from triage_cli import domain as dm
from triage_cli.extensions.pull import ImapLogin, ImapSource, imap, imap_day, quoted_folder
from triage_cli.runtime import ImapConnection, Network, mail_connections


@pytest.fixture(scope="module")
def shared() -> Iterator[ImapServer]:
    with running_imap_server() as server:
        yield server


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A folder of the test's own."""
    return f"Support & Größe {request.node.name}"


def source(server: ImapServer | int, folder: str = "INBOX", **options: Any) -> ImapSource:
    port = server if isinstance(server, int) else server.port
    login = ImapLogin(options.get("user", USER), options.get("password", PASSWORD), folder)
    network: Network = options.get("network", ONLINE)
    host = options.get("host", "127.0.0.1")

    def connect(until: float | None) -> ImapConnection:
        return network.imap('source "inbox"', host, port, tls=options.get("tls", "none"), timeout=30, until=until)

    return ImapSource("inbox", host, login, connect, keeps_category=False)


def pages(opened: ImapSource, position: str | None = None, plan: dm.PullPlan = dm.PullPlan()) -> list[dm.SourcePage]:  # noqa: B008
    return list(opened.pages(position, plan, lambda *_: False))


def texts(found: list[dm.SourcePage]) -> list[str | None]:
    return [
        row.description if isinstance(row, dm.TicketDraft) else row.error.message for p in found for row in p.drafts
    ]


def test_mails_are_read_once_and_stay_unread(shared: ImapServer) -> None:
    shared.put(mail("a", name="a@x"), mail("b", name="b@x"))
    first = pages(source(shared))
    assert texts(first) == ["a", "b"]
    drafts = [row for page in first for row in page.drafts if isinstance(row, dm.TicketDraft)]
    assert [(row.source, row.line) for row in drafts] == [("inbox", 0), ("inbox", 0)], "a UID is no line of a file"
    assert shared.unseen() == 2
    assert pages(source(shared), first[-1].position) == []
    shared.put(mail("c", name="c@x"))
    assert texts(pages(source(shared), first[-1].position)) == ["c"]
    shared.expunge(1)
    assert texts(pages(source(shared))) == ["b", "c"]


def test_a_page_ends_where_the_next_pull_may_begin(
    shared: ImapServer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "PAGE_MAILS", 4)
    shared.put(*[mail(f"text {n}", name=f"{n}@x") for n in range(30)], folder=folder)
    found = pages(source(shared, folder))
    assert texts(found) == [f"text {n}" for n in range(30)]
    assert [row.row for page in found for row in page.drafts] == list(range(30))
    for number, page in enumerate(found):
        assert texts(pages(source(shared, folder), page.position)) == texts(found[number + 1 :])


def test_pages_are_cut_by_the_size_of_mails(shared: ImapServer, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap, "PAGE_BYTES", 3000)
    shared.put(*[mail("x" * 1000, name=f"{n}@x") for n in range(9)], folder=folder)
    assert [len(page.drafts) for page in pages(source(shared, folder))] == [3, 3, 3]


def test_a_folder_that_was_made_anew_is_read_from_its_beginning(shared: ImapServer, folder: str) -> None:
    shared.put(mail("a", name="a@x"), mail("b", name="b@x"), folder=folder)
    position = pages(source(shared, folder))[-1].position
    shared.remove(folder)
    shared.put(mail("c", name="c@x"), folder=folder)
    assert texts(pages(source(shared, folder), position)) == ["c"]


def test_a_mail_that_is_marked_as_deleted_is_not_pulled(shared: ImapServer, folder: str) -> None:
    shared.put(mail("a", name="a@x"), mail("b", name="b@x"), mail("c", name="c@x"), folder=folder)
    shared.mark_deleted(2, folder)
    found = pages(source(shared, folder))
    assert texts(found) == ["a", "c"]
    assert pages(source(shared, folder), found[-1].position) == []


def test_what_cannot_be_read_is_named_by_its_uid_and_the_rest_goes_on(
    shared: ImapServer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "LONGEST", 5000)
    shared.put(mail("", subject=None), mail("x" * 9000, name="b@x"), mail("after", name="c@x"), folder=folder)
    (page,) = pages(source(shared, folder))
    reasons = texts([page])
    assert [reason.partition(": ")[2] for reason in reasons[:2] if reason] == ["neither subject nor text", "over 50 MB"]
    assert all(reason and reason.startswith("UID ") for reason in reasons[:2])
    assert reasons[2] == "after"
    assert isinstance(page.drafts[1], dm.Rejected)
    assert "x" * 5000 in page.drafts[1].raw


def test_a_time_is_a_day_to_the_server(shared: ImapServer, folder: str) -> None:
    """What was put there has come in 1970."""
    shared.put(mail("old", name="a@x"), folder=folder)
    assert pages(source(shared, folder), None, dm.PullPlan(since="2026-11-26T10:00:00.000Z")) == []
    assert texts(pages(source(shared, folder), None, dm.PullPlan(since="1969-12-01T10:00:00.000Z"))) == ["old"]


def test_a_pull_since_a_day_moves_no_position_past_mails_that_it_leaves_out(shared: ImapServer, folder: str) -> None:
    since = dm.PullPlan(since="1969-12-01T10:00:00.000Z")
    shared.put(mail("a", name="a@x"), folder=folder)
    (first,) = pages(source(shared, folder), None, since)
    assert first.position is not None
    shared.put(mail("b", name="b@x"), folder=folder)
    assert [page.position for page in pages(source(shared, folder), first.position, since)] == [None]


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"password": "wrong"}, dm.RefusedError, "refuses the user ann"),
        ({"user": "Jürgen"}, dm.RefusedError, "refuses the user Jürgen"),
        ({"folder": "Nowhere"}, dm.UsageError, 'no folder "Nowhere"'),
        ({"tls": "starttls"}, dm.UnavailableError, "TLS not supported by server"),
        (
            {"tls": "implicit"},
            dm.UnavailableError,
            "cannot be read: it makes no TLS connection; see host, port and tls in the config, or try again later",
        ),
        ({"network": Network(offline=True)}, dm.UsageError, "--offline switches it off"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    shared: ImapServer, options: dict[str, Any], error: type[dm.TriageError], why: str
) -> None:
    with pytest.raises(error) as raised:
        pages(source(shared, **options))
    assert why in raised.value.sentence()
    assert PASSWORD not in raised.value.sentence()


def test_a_server_that_is_away_or_speaks_otherwise_stops_the_pull() -> None:
    with reserve_port() as reserved, pytest.raises(dm.UnavailableError, match="it refuses connections"):
        pages(source(number_of(reserved)))


@contextmanager
def answering(command: bytes, answer: Callable[[bytes, bytes], bytes]) -> Iterator[int]:
    """Serve one connection, on which a command is answered by its tag and line; yield the port."""
    listening_socket = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening_socket.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"* OK ready\r\n")
            for line in lines:
                tag = line.split()[0]
                if command in line:
                    connection.sendall(answer(tag, line))
                else:
                    connection.sendall(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listening_socket.getsockname()[1])
    thread.join()
    listening_socket.close()


# -- servers that answer otherwise than they announce


def scripted(replies: dict[bytes, Callable[[bytes], Iterable[bytes]]]) -> AbstractContextManager[int]:
    """Serve one folder; what answers a command is sent piece by piece, until the client has gone."""
    usual = {
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n",
        b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 4294967295] next\r\n",
        b"SEARCH": b"* SEARCH 4294967294\r\n",
        b"RFC822.SIZE": b"* 1 FETCH (UID 4294967294 RFC822.SIZE 300)\r\n",
    }
    asked: list[bytes] = []

    def answered(line: bytes) -> Iterator[bytes]:
        asked.append(line)
        tag = line.split()[0]
        command = next((name for name in (*replies, *usual) if name in line), b"")
        yield from replies[command](tag) if command in replies else [usual.get(command, b"")]
        yield tag + b" OK done\r\n"

    return serving(answered, asked)


@contextmanager
def serving(answered: Callable[[bytes], Iterable[bytes]], asked: list[bytes]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with suppress(OSError), connection, connection.makefile("rb") as lines:
                connection.sendall(b"* OK ready\r\n")
                for line in lines:
                    for piece in answered(line):
                        connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()
    assert len(asked) < 20, "as few commands as there are mails"


def test_uids_at_the_end_of_their_range_are_found_by_one_search() -> None:
    text = mail("far out", name="a@x")
    content = b"* 1 FETCH (UID 4294967294 BODY[]<0> {%d}\r\n%b)\r\n" % (len(text), text)
    with scripted({b"BODY": lambda _: [content]}) as port:
        found = pages(source(port))
    assert texts(found) == ["far out"]


LITERAL = b"* 1 FETCH (UID 4294967294 BODY[]<0> {%d}\r\n"
FLOODS: dict[str, dict[bytes, Callable[[bytes], Iterable[bytes]]]] = {
    "a literal of 2 GB under an announced size of 300": {b"BODY": lambda _: [LITERAL % (2 << 30)]},
    "many literals": {b"BODY": lambda _: (LITERAL % (1 << 20) + b"x" * (1 << 20) + b")\r\n" for _ in count())},
    "untagged lines": {b"SEARCH": lambda _: repeat(b"* 1 EXISTS\r\n" * 5000)},
    "a line without an end": {b"EXAMINE": lambda _: repeat(b"x" * 65_536)},
    "lines before the login": {b"CAPABILITY": lambda _: repeat(b"* OK still here\r\n" * 5000)},
}


@pytest.mark.parametrize("flood", FLOODS)
def test_more_than_a_server_has_announced_ends_the_pull_before_it_fills_the_memory(
    flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_connections, "MOST_IMAP_BYTES", 4 << 20)
    tracemalloc.start()
    try:
        with scripted(FLOODS[flood]) as port, pytest.raises(dm.UnavailableError) as raised:
            pages(source(port))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "it answers one command with more than 4 MB" in raised.value.message
    assert peak < 16 << 20


@pytest.mark.parametrize("command", [b"CAPABILITY", b"EXAMINE", b"SEARCH", b"BODY"])
@pytest.mark.parametrize("drips", [False, True])
def test_a_server_that_stalls_or_drips_is_left_at_the_deadline(command: bytes, drips: bool) -> None:
    ended = threading.Event()

    def stall(_tag: bytes) -> Iterator[bytes]:
        while not ended.wait(0.05):
            yield b"*" if drips else b""

    with scripted({command: stall}) as port, ExitStack() as at_end:
        at_end.callback(ended.set)
        began = time.monotonic()
        with pytest.raises(dm.UnavailableError) as raised:
            pages(source(port), None, dm.PullPlan(deadline=0.5))
        assert time.monotonic() - began < 20, "and not the 30 s of a timeout"
    assert raised.value.sentence().endswith("--deadline has passed; the same command goes on from there")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"CAPABILITY", b"* CAPABILITY IMAP4rev1 \xff\r\n"),
        (b"EXAMINE", b"* 1 FETCH {%b}\r\n" % (b"9" * 5000)),
        (b"EXAMINE", b"* OK [UIDVALIDITY %b] valid\r\n" % (b"9" * 5000)),
        (b"SEARCH", b"* SEARCH 1 2 (MODSEQ 5)\r\n"),
        (b"RFC822.SIZE", b"* 1 FETCH (UID 4294967294 RFC822.SIZE %b)\r\n" % (b"9" * 5000)),
    ],
)
def test_numbers_and_letters_that_are_none_end_the_pull_with_one_sentence(command: bytes, answer: bytes) -> None:
    with scripted({command: lambda _: [answer]}) as port, pytest.raises(dm.UnavailableError, match="what is no IMAP"):
        pages(source(port))


def test_a_password_that_a_server_repeats_is_hidden() -> None:
    with (
        answering(b"LOGIN", lambda _, line: b"* BYE what is " + line) as port,
        pytest.raises(dm.UnavailableError, match=r"cannot be read: .*what is .* LOGIN ann .*\*\*\*") as raised,
    ):
        pages(source(port))
    assert PASSWORD not in raised.value.sentence()


def test_a_short_password_hides_no_letter_of_other_words() -> None:
    with (
        answering(b"LOGIN", lambda tag, line: tag + b" NO unexpected response to " + line) as port,
        pytest.raises(dm.RefusedError, match=r'unexpected response to \S+ LOGIN ann "?\*\*\*"?') as raised,
    ):
        pages(source(port, password="e"))  # noqa: S106 - made up
    assert "***pect" not in raised.value.sentence()


@pytest.mark.parametrize("spelt", ["swordfish%2D9", "swordfish\\u002d9", "AHVzZXIA"])
def test_a_password_is_hidden_in_other_spellings(spelt: str) -> None:
    """The last one is how a login of SASL PLAIN begins that is not this one."""
    with (
        answering(b"LOGIN", lambda tag, _: tag + f" NO not {spelt}.\r\n".encode()) as port,
        pytest.raises(dm.RefusedError) as raised,
    ):
        pages(source(port, password="swordfish-9"))  # noqa: S106 - made up
    assert ("not ***" in raised.value.sentence()) == spelt.startswith("sword")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("[ALERT] Too many simultaneous connections. (Failure)", dm.UnavailableError),
        ("[UNAVAILABLE] User's backend down for maintenance", dm.UnavailableError),
        ("[LIMIT] Too many logins", dm.UnavailableError),
        ("[AUTHENTICATIONFAILED] Invalid credentials (Failure)", dm.RefusedError),
        ("[ALERT] Application-specific password required: https://support.google.com/x (Failure)", dm.RefusedError),
    ],
)
def test_a_refused_login_says_why_and_what_passes_is_no_wrong_password(
    answer: str, error: type[dm.TriageError]
) -> None:
    with (
        answering(b"LOGIN", lambda tag, _: tag + b" NO " + answer.encode() + b"\r\n") as port,
        pytest.raises(error) as raised,
    ):
        pages(source(port))
    assert answer in raised.value.message


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        ("[NONEXISTENT] Unknown Mailbox", dm.UsageError, 'no folder "INBOX"'),
        ("[INUSE] Mailbox is locked", dm.UnavailableError, "[INUSE] Mailbox is locked"),
    ],
)
def test_a_folder_that_cannot_be_opened_for_now_is_not_missing(
    answer: str, error: type[dm.TriageError], why: str
) -> None:
    with (
        answering(b"EXAMINE", lambda tag, _: tag + b" NO " + answer.encode() + b"\r\n") as port,
        pytest.raises(error) as raised,
    ):
        pages(source(port))
    assert why in raised.value.message


def test_a_certificate_is_held_against_the_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: ImapServer
) -> None:
    authority = Authority(tmp_path)
    context = authority.context()
    shared.put(mail("over TLS", name="tls@x"), folder="Tls")
    with encrypted(shared.port, context) as port:
        with pytest.raises(dm.UnavailableError, match=r"its certificate is not trusted \(SSL_CERT_FILE"):
            pages(source(port, "Tls", tls="implicit"))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert texts(pages(source(port, "Tls", tls="implicit"))) == ["over TLS"]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        with pytest.raises(dm.ConfigError):
            pages(source(port, "Tls", tls="implicit"))


def test_starttls_comes_before_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    with running_imap_server(authority.vouch()) as server:
        with pytest.raises(dm.UnavailableError, match="certificate"):
            pages(source(server, tls="starttls"))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert pages(source(server, tls="starttls")) == []


def test_names_of_folders_are_written_as_the_protocol_has_them() -> None:
    assert quoted_folder("INBOX") == '"INBOX"'
    assert quoted_folder('a "b" & \\c') == '"a \\"b\\" &- \\\\c"'
    assert quoted_folder("~peter/mail/台北/日本語") == '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'  # RFC 3501, section 5.1.3


def test_days_are_in_english() -> None:
    assert imap_day("2026-05-03T10:00:00.000Z") == "03-May-2026"
