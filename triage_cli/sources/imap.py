"""A source of type `imap`: the mails of one folder of a mail server, by their UIDs (RFC 3501).

The position is the highest UID that was read, with the folder's UIDVALIDITY. If that has changed, UIDs mean other
mails, so all mails are read again; none is stored twice, because the Message-ID identifies a mail. The folder is opened
read-only, so no mail is marked as seen.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NamedTuple

from triage_cli.domain.errors import RefusedError, UnavailableError, UsageError
from triage_cli.domain.serialization import compact
from triage_cli.domain.sources import PullPlan, SourcePage
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.ports.sources import Pause
from triage_cli.readers.mail_files import LONGEST, RawMail
from triage_cli.readers.mail_message import mail_drafts
from triage_cli.runtime.mail_connections import ImapConnection, ImapError
from triage_cli.runtime.unreachable import reason

# The number of UIDs in the first search; if few mails are found, the next search covers more. A line of the answer
# holds 1 MB.
FEWEST, MOST = 1_000, 100_000
# The most mails of one page, and about how many bytes they may have together.
MAILS, BYTES = 100, 8 << 20
SHOWN = 200  # characters of an answer
_BEGINNING = 1 << 16  # bytes of a mail that is too long
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
# What a server says that refuses a login for now: codes of RFC 5530, and Gmail's words.
_FOR_NOW = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|OVERQUOTA|SERVERBUG)\b|too many|try again", re.IGNORECASE)
_FOREIGN = re.compile(r"[^\x20-\x7e]+")

# Opens a connection, before the login.
Connect = Callable[[], ImapConnection]


class Login(NamedTuple):
    """The user, the password and the folder."""

    user: str
    password: str
    folder: str


class ImapSource:
    """Implements `ports.Source` for one folder; `host` is how messages name the server."""

    def __init__(self, name: str, host: str, login: Login, connect: Connect, *, keeps_category: bool) -> None:
        self.name = name
        self.keeps_category = keeps_category
        self._host = host
        self._login = login
        self._connect = connect

    def pages(self, position: str | None, plan: PullPlan, pause: Pause) -> Iterator[SourcePage]:
        """Yield the mails after the position, in the order of their UIDs.

        Raises `RefusedError` if the login fails, `UsageError` if there is no such folder, and `UnavailableError` if the
        server cannot be reached or the connection breaks.
        """
        del pause  # a mail server does not say when to come again
        with self._connected() as server:
            yield from self._pages(server, position, plan)

    def look(self) -> str:
        """Log in, open the folder and return its state. Raises the same errors as `pages`."""
        with self._connected() as server:
            self._log_in(server)
            mails = self._opened(server).mails
        return f"reads {self._login.folder} of {self._host} as {self._login.user}: {mails:,} mails"

    @contextmanager
    def _connected(self) -> Iterator[ImapConnection]:
        hint = "see host, port and tls in the config, or try again later"
        try:
            server = self._connect()
            hint = "what came before is stored; the same command goes on from there"
            try:
                yield server
            finally:
                with suppress(OSError, ImapError):
                    server.logout()
        except (OSError, ImapError) as error:
            why = reason(error) if isinstance(error, OSError) else self._without_password(error)
            raise UnavailableError(
                f"{self.name}: the mail server {self._host} cannot be read: {why}", hint=hint
            ) from error

    def _without_password(self, error: Exception) -> str:
        """Return what an error says, without the password, which a server may repeat."""
        what = error.args[0] if error.args else ""
        text = what.decode("utf-8", "replace") if isinstance(what, bytes) else str(error)
        return " ".join(text.replace(self._login.password, "***").split())[:SHOWN]

    def _pages(self, server: ImapConnection, position: str | None, plan: PullPlan) -> Iterator[SourcePage]:
        self._log_in(server)
        validity, end, _ = self._opened(server)
        stored = json.loads(position) if position else {}
        last = stored.get("uid", 0) if stored.get("validity") == validity else 0
        since, saves = "", True
        if plan.since is not None:
            saves = last == 0  # else the mails between the position and that day would be left out
            last, since = 0, f"SINCE {imap_day(plan.since)} "
        row = 0
        for uids in self._uid_ranges(server, last + 1, end, since):
            for mail_sizes in self._sized_pages(server, uids, min(MAILS, plan.limit or MAILS)):
                page: list[TicketDraft | Rejected] = []
                for each in mail_drafts(self._fetched(server, mail_sizes), self.name):
                    page.append(each._replace(row=row))
                    row += 1
                last_uid = mail_sizes[-1].uid
                yield SourcePage(
                    page, compact({"validity": validity, "uid": last_uid}) if saves else None, last_uid / end
                )

    def _log_in(self, server: ImapConnection) -> None:
        user, password, _ = self._login
        try:
            if user.isascii() and password.isascii():
                server.login(user, password)
            else:
                server.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
        except ImapConnection.abort:
            raise
        except ImapError as error:
            answer = self._without_password(error)
            why = f"{self.name}: the mail server {self._host} refuses the user {user}{answer and f': {answer}'}"
            if _FOR_NOW.search(answer):
                raise UnavailableError(why, hint="try later") from error
            raise RefusedError(
                why,
                hint="check the variables that user_env and password_env name; many servers want an app password",
            ) from error

    def _opened(self, server: ImapConnection) -> "_Folder":
        status, there = server.select(quoted(self._login.folder), readonly=True)
        if status != "OK":
            if _FOR_NOW.search(answer := self._without_password(ImapError(there[0]))):
                raise ImapError(answer)
            raise UsageError(f'{self.name}: no folder "{self._login.folder}"', hint="name another as folder")
        validity, mails = _number(server.response("UIDVALIDITY")), _number(("EXISTS", there))
        end = _number(server.response("UIDNEXT")) or self._behind_last(server, mails)
        return _Folder(validity, end, mails)

    def _behind_last(self, server: ImapConnection, mails: int) -> int:
        """Return the UID behind the last mail's, on a server that does not name it: UIDs go up to 4,294,967,295."""
        last = _uids(self._asked(server, "SEARCH", "UID *")) if mails else set()
        return max(last, default=0) + 1

    def _uid_ranges(self, server: ImapConnection, begin: int, end: int, since: str) -> Iterator[list[int]]:
        """Yield the existing UIDs from `begin` up to before `end`, in ascending order."""
        width = FEWEST
        while begin < end:
            stop = min(begin + width, end)
            uids = _uids(self._asked(server, "SEARCH", f"{since}UID {begin}:{stop - 1}"))
            if uids:
                yield sorted(uid for uid in uids if begin <= uid < stop)
            width = width if len(uids) > width // 10 else min(width * 4, MOST)
            begin = stop

    def _sized_pages(self, server: ImapConnection, uids: Sequence[int], most: int) -> Iterator[list["_MailSize"]]:
        """Yield pages of at most `most` UIDs, and of a limited size in bytes."""
        mail_sizes: list[_MailSize] = []
        left = BYTES
        for begin in range(0, len(uids), MAILS):
            asked_for = uids[begin : begin + MAILS]
            answer = self._asked(server, "FETCH", f"{_set(asked_for)} (UID RFC822.SIZE)")
            lines = [line for line in answer if isinstance(line, bytes)]
            sizes = {int(u[1]): int(s[1]) for line in lines if (u := _UID.search(line)) and (s := _SIZE.search(line))}
            for uid in asked_for:
                mail_sizes.append(_MailSize(uid, sizes.get(uid, 0)))
                left -= sizes.get(uid, 0)
                if left <= 0 or len(mail_sizes) >= most:
                    yield mail_sizes
                    mail_sizes, left = [], BYTES
        if mail_sizes:
            yield mail_sizes

    def _fetched(self, server: ImapConnection, mail_sizes: Sequence["_MailSize"]) -> Iterator[RawMail]:
        """Yield mails; a mail that was deleted in the meantime is left out."""
        short = [each.uid for each in mail_sizes if each.size <= LONGEST]
        contents = self._contents(server, short, "BODY.PEEK[]") if short else {}
        for uid, size in mail_sizes:
            if size > LONGEST:
                first_bytes = self._contents(server, [uid], f"BODY.PEEK[]<0.{_BEGINNING}>").get(uid, b"")
                yield RawMail(f"UID {uid}", 0, first_bytes, iter(()))
            elif uid in contents:
                yield RawMail(f"UID {uid}", 0, contents.pop(uid))

    def _contents(self, server: ImapConnection, uids: Sequence[int], item: str) -> dict[int, bytes]:
        mails_by_uid, before = {}, b""
        for piece in self._asked(server, "FETCH", f"{_set(uids)} (UID {item})"):
            if isinstance(piece, tuple):
                before, content = piece[0], piece[1]
                if match := _UID.search(before):
                    mails_by_uid[int(match[1])] = content
                    before = b""
            elif before and piece and (match := _UID.search(piece)):  # a server may name the UID after the text
                mails_by_uid[int(match[1])] = content
                before = b""
        return mails_by_uid

    def _asked(self, server: ImapConnection, command: str, what: str) -> list[bytes | tuple[bytes, bytes]]:
        status, answer = server.uid(command, *([what] if command == "SEARCH" else what.split(" ", 1)))
        if status != "OK":
            raise ImapError(f"UID {command} is answered by {status}")
        return [each for each in answer if each is not None]


class _Folder(NamedTuple):
    """An open folder: its UIDVALIDITY, the UID of the next mail to arrive, and the number of mails."""

    validity: int
    end: int
    mails: int


class _MailSize(NamedTuple):
    """A mail on the server: its UID, and its size in bytes."""

    uid: int
    size: int


def quoted(folder: str) -> str:
    """Return a folder's name as a quoted string in modified UTF-7 (RFC 3501, sections 4.3 and 5.1.3)."""

    def shifted(run: re.Match[str]) -> str:
        coded = base64.b64encode(run[0].encode("utf-16-be")).decode().rstrip("=")
        return f"&{coded.replace('/', ',')}-"

    name = _FOREIGN.sub(shifted, folder.replace("&", "&-"))
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def imap_day(moment: str) -> str:
    """Return the day of a time in IMAP's format, in English whatever the locale."""
    day = datetime.fromisoformat(moment)
    return f"{day.day:02}-{'JanFebMarAprMayJunJulAugSepOctNovDec'[day.month * 3 - 3 : day.month * 3]}-{day.year}"


def _number(response: tuple[str, list[bytes | None]]) -> int:
    """Return the number that a server tells, 0 if it tells none."""
    values = [value for value in response[1] or () if value]
    return int(values[-1]) if values and values[-1].isdigit() else 0


def _uids(answer: Sequence[bytes | tuple[bytes, bytes]]) -> set[int]:
    """Return the UIDs that a search found."""
    return {int(each) for line in answer if isinstance(line, bytes) for each in line.split()}


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))
