"""A source of type `imap`: the mails of one folder of a mail server, by their UIDs (RFC 3501).

The position is the highest UID that was read, with the folder's UIDVALIDITY. If that has changed, UIDs mean other
mails, so all mails are read again; none is stored twice, because the Message-ID identifies a mail. The folder is opened
read-only, so no mail is marked as seen.
"""

import base64
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Pause
from triage_cli.readers import LONGEST_MAIL as LONGEST
from triage_cli.readers import RawMail, mail_drafts
from triage_cli.runtime import AccessTokens, ImapConnection, ImapError, reason, sent_forms

# The most mails of one page, and about how many bytes they may have together.
PAGE_MAILS, PAGE_BYTES = 100, 8 << 20
SHOWN_CHARACTERS = 200  # of an IMAP server's answer
_KEPT_BEGINNING = 1 << 16  # bytes of a mail that is too long
_UID = re.compile(rb"\bUID (\d+)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
# What a server says that refuses a login for now: codes of RFC 5530, and Gmail's words.
_TEMPORARY_REFUSAL = re.compile(r"\[(UNAVAILABLE|INUSE|LIMIT|OVERQUOTA|SERVERBUG)\b|too many|try again", re.IGNORECASE)
_NON_ASCII = re.compile(r"[^\x20-\x7e]+")

# Opens a connection, before the login; it ends at a monotonic time, if one is given.
Connect = Callable[[float | None], ImapConnection]


class ImapLogin(NamedTuple):
    """The login to the mail server, with a password or with `tokens`, and the folder that is read."""

    user: str
    password: str
    folder: str
    tokens: AccessTokens | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what a server's message must not show: password or tokens, also as a login sends them."""
        if self.tokens:
            return tuple(sent_forms(self.user, self.tokens.secrets))
        credentials = (self.password, f"\0{self.user}\0{self.password}")
        return (self.password, *(b64encode(each.encode()).decode() for each in credentials))


class ImapSource:
    """Implements `ports.Source` for one folder of a mail server; `host` is how messages name the server."""

    def __init__(self, name: str, host: str, login: ImapLogin, connect: Connect, *, keeps_category: bool) -> None:
        self.name = name
        self.keeps_category = keeps_category
        self._host = host
        self._login = login
        self._connect = connect

    def pages(self, position: str | None, plan: dm.PullPlan, pause: Pause) -> Iterator[dm.SourcePage]:
        """Yield the mails after the position, in the order of their UIDs.

        Raises `RefusedError` if the login fails, `UsageError` if there is no such folder, and `UnavailableError` if the
        server cannot be reached or the connection breaks.
        """
        del pause  # a mail server does not say when to come again
        with self._logged_in(plan.deadline) as server:
            yield from self._mail_pages(server, position, plan)

    def describe_folder(self) -> str:
        """Log in, open the folder and return its state. Raises the same errors as `pages`."""
        with self._logged_in() as server:
            mails = self._open_folder(server).mails
        return f"reads {self._login.folder} of {self._host} as {self._login.user}: {mails:,} mails"

    @contextmanager
    def _logged_in(self, seconds: float | None = None) -> Iterator[ImapConnection]:
        until = None if seconds is None else time.monotonic() + seconds
        hint = "see host, port and tls in the config, or try again later"
        try:
            with ExitStack() as opened:
                server = self._connect(until)
                opened.callback(_hang_up, server)
                hint = "what came before is stored; the same command goes on from there"
                if self._login.tokens is None:
                    self._log_in(server)
                elif refused := self._refused_token(server, self._login.tokens.waited_for(until=until)):
                    token = self._login.tokens.waited_for(refused, until)
                    server = self._connect(until)  # some servers hang up after a login that they refuse
                    opened.callback(_hang_up, server)
                    if self._refused_token(server, token):
                        raise self._login.tokens.refused_again(
                            f"{self.name}: the mail server {self._host} refuses a new token of "
                            f"{self._login.tokens.client} for the user {self._login.user}, too"
                        )
                yield server
        except (OSError, ImapError, ValueError) as error:
            if until is not None and time.monotonic() >= until:
                why, hint = "--deadline has passed", "the same command goes on from there"
            elif isinstance(error, OSError):
                why = reason(error)
            elif isinstance(error, ValueError):  # of a number, a letter or a challenge that is none
                why = "it answers what is no IMAP"
            else:
                why = self._without_password(error)
            raise dm.UnavailableError(
                f"{self.name}: the mail server {self._host} cannot be read: {why}", hint=hint
            ) from error

    def _without_password(self, error: Exception) -> str:
        """Return what an IMAP error says, without the password, which a server may repeat."""
        text = error.args[0] if error.args else ""
        error_text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(error)
        return " ".join(dm.hide_secrets(error_text, self._login.secrets).split())[:SHOWN_CHARACTERS]

    def _mail_pages(self, server: ImapConnection, position: str | None, plan: dm.PullPlan) -> Iterator[dm.SourcePage]:
        validity, _ = self._open_folder(server)
        stored = json.loads(position) if position else {}
        last_uid = stored.get("uid", 0) if stored.get("validity") == validity else 0
        since, saves = "", True
        if plan.since is not None:
            saves = last_uid == 0  # else the mails between the position and that day would be left out
            last_uid, since = 0, f"SINCE {imap_day(plan.since)} "
        row = 0
        uids = self._uids_from(server, last_uid + 1, since)
        for sizes in self._sized_pages(server, uids, min(PAGE_MAILS, plan.limit or PAGE_MAILS)):
            page: list[dm.TicketDraft | dm.Rejected] = []
            for mail_draft in mail_drafts(self._fetched_mails(server, sizes), self.name):
                page.append(mail_draft._replace(row=row))
                row += 1
            last_uid = sizes[-1].uid
            position = dm.compact({"validity": validity, "uid": last_uid}) if saves else None
            yield dm.SourcePage(page, position, last_uid / uids[-1], goes_on=saves)

    def _log_in(self, server: ImapConnection) -> None:
        user, password = self._login.user, self._login.password
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
            if _TEMPORARY_REFUSAL.search(answer):
                raise dm.UnavailableError(why, hint="try later") from error
            raise dm.RefusedError(
                why, hint="check the variables that user_env and password_env name; many servers want an app password"
            ) from error

    def _refused_token(self, server: ImapConnection, token: str) -> str:
        """Log in with a token; return it if the server refuses it, else an empty text."""
        if not server.takes_tokens:
            raise dm.UsageError(
                f"{self.name}: the mail server {self._host} offers no login by XOAUTH2",
                hint="give password_env instead of auth",
            )
        try:
            server.log_in_by_token(self._login.user, token)
        except ImapConnection.abort:
            raise
        except ImapError as error:
            answer = self._without_password(error)
            if _TEMPORARY_REFUSAL.search(answer):
                raise dm.UnavailableError(
                    f"{self.name}: the mail server {self._host} refuses the user {self._login.user}: {answer}",
                    hint="try later",
                ) from error
            return token
        return ""

    def _open_folder(self, server: ImapConnection) -> "_OpenFolder":
        status, select_data = server.select(quoted_folder(self._login.folder), readonly=True)
        if status != "OK":
            if _TEMPORARY_REFUSAL.search(answer := self._without_password(ImapError(select_data[0]))):
                raise ImapError(answer)
            raise dm.UsageError(f'{self.name}: no folder "{self._login.folder}"', hint="name another as folder")
        validity, mails = _response_number(server.response("UIDVALIDITY")), _response_number(("EXISTS", select_data))
        return _OpenFolder(validity, mails)

    def _uids_from(self, server: ImapConnection, begin: int, since: str) -> list[int]:
        """Return the UIDs from `begin` on of the mails that are not marked as deleted, in ascending order.

        One search, however far apart the UIDs are, which go up to 4,294,967,295; it names the last mail in any case.
        """
        uids = _uids(self._uid_command(server, "SEARCH", f"{since}UNDELETED UID {begin}:*"))
        return sorted(uid for uid in uids if uid >= begin)

    def _sized_pages(self, server: ImapConnection, uids: Sequence[int], most: int) -> Iterator[list["_MailSize"]]:
        """Yield pages of at most `most` UIDs, and of a limited size in bytes."""
        mail_sizes: list[_MailSize] = []
        bytes_left = PAGE_BYTES
        for begin in range(0, len(uids), PAGE_MAILS):
            uids_to_size = uids[begin : begin + PAGE_MAILS]
            answer = self._uid_command(server, "FETCH", f"{_uid_set(uids_to_size)} (UID RFC822.SIZE)")
            size_lines = [line for line in answer if isinstance(line, bytes)]
            uids_and_sizes = [(_UID.search(line), _SIZE.search(line)) for line in size_lines]
            sizes = {int(match[1]): int(size[1]) for match, size in uids_and_sizes if match and size}
            for uid in uids_to_size:
                size = sizes.get(uid, PAGE_BYTES)  # after one of which the server tells no size, a page ends
                mail_sizes.append(_MailSize(uid, size))
                bytes_left -= size
                if bytes_left <= 0 or len(mail_sizes) >= most:
                    yield mail_sizes
                    mail_sizes, bytes_left = [], PAGE_BYTES
        if mail_sizes:
            yield mail_sizes

    def _fetched_mails(self, server: ImapConnection, sizes: Sequence["_MailSize"]) -> Iterator[RawMail]:
        """Fetch mails by their UIDs; a mail that was deleted in the meantime is left out."""
        short_uids = [each.uid for each in sizes if each.size <= LONGEST]
        contents = self._mail_contents(server, short_uids, f"BODY.PEEK[]<0.{LONGEST + 1}>") if short_uids else {}
        for uid, size in sizes:
            if size > LONGEST:
                first_bytes = self._mail_contents(server, [uid], f"BODY.PEEK[]<0.{_KEPT_BEGINNING}>").get(uid, b"")
                yield RawMail(f"UID {uid}", 0, first_bytes, iter(()))
            elif uid in contents:
                yield RawMail(f"UID {uid}", 0, contents.pop(uid))

    def _mail_contents(self, server: ImapConnection, uids: Sequence[int], fetch_item: str) -> dict[int, bytes]:
        mails, line = {}, b""
        for part in self._uid_command(server, "FETCH", f"{_uid_set(uids)} (UID {fetch_item})"):
            if isinstance(part, tuple):
                line, content = part[0], part[1]
                if match := _UID.search(line):
                    mails[int(match[1])] = content
                    line = b""
            # A server may name the UID after the text.
            elif line and part and (match := _UID.search(part)):
                mails[int(match[1])] = content
                line = b""
        return mails

    def _uid_command(self, server: ImapConnection, command: str, arguments: str) -> list[bytes | tuple[bytes, bytes]]:
        status, answer = server.uid(command, *([arguments] if command == "SEARCH" else arguments.split(" ", 1)))
        if status != "OK":
            raise ImapError(f"UID {command} is answered by {status}")
        return [each for each in answer if each is not None]


def _hang_up(server: ImapConnection) -> None:
    with suppress(OSError, ImapError, ValueError):
        server.logout()
    with suppress(OSError):  # it is closed already, unless the logout failed
        server.shutdown()


class _OpenFolder(NamedTuple):
    """An open folder: its UIDVALIDITY, and the number of mails."""

    validity: int
    mails: int


class _MailSize(NamedTuple):
    """A mail on the server: its UID, and its size in bytes."""

    uid: int
    size: int


def quoted_folder(folder: str) -> str:
    """Return a folder's name as a quoted string in modified UTF-7 (RFC 3501, sections 4.3 and 5.1.3)."""

    def as_utf7(non_ascii: re.Match[str]) -> str:
        utf16_base64 = base64.b64encode(non_ascii[0].encode("utf-16-be")).decode().rstrip("=")
        return f"&{utf16_base64.replace('/', ',')}-"

    utf7_name = _NON_ASCII.sub(as_utf7, folder.replace("&", "&-"))
    return '"' + utf7_name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def imap_day(moment: str) -> str:
    """Return the day of a time in IMAP's format, in English whatever the locale."""
    day = datetime.fromisoformat(moment)
    return f"{day.day:02}-{'JanFebMarAprMayJunJulAugSepOctNovDec'[day.month * 3 - 3 : day.month * 3]}-{day.year}"


def _response_number(response: tuple[str, list[bytes | None]]) -> int:
    """Return the number in an IMAP response, 0 if it has none."""
    values = [value for value in response[1] or () if value]
    return int(values[-1]) if values and values[-1].isdigit() else 0


def _uids(answer: Sequence[bytes | tuple[bytes, bytes]]) -> set[int]:
    """Return the UIDs that a search on the server found."""
    return {int(each) for line in answer if isinstance(line, bytes) for each in line.split()}


def _uid_set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))
