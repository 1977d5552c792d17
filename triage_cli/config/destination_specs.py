"""The records of `destinations` in the configuration, with the defaults."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple


class AuthSpec(NamedTuple):
    """The authentication of a request: one header, made from the values of the variables `env`."""

    kind: Literal["basic", "bearer", "header"]
    env: tuple[str, ...] = ()
    header: str = "authorization"
    prefix: str = ""


class AnswerTest(NamedTuple):
    """A test of an answer: one of these statuses (none: any), and this value at a path (none: any but null).

    `contains` is a text that the value at the path must contain.
    """

    status: tuple[int, ...] = ()
    path: str | None = None
    value: tuple[Any, ...] = ()
    contains: str = ""


class OnceSpec(NamedTuple):
    """A search before a repeated attempt, if the outcome of the first one is unknown.

    It is a GET of an address, or a body posted to the destination's own address. It has found something if there is a
    value at the path `found`, or if the answer contains a text. A value at the path `partial` tells that it did not
    look everywhere.
    """

    get: str = ""
    body: Any = None
    found: str = ""
    contains: str = ""
    partial: str = ""


class FindSpec(NamedTuple):
    """A GET request before each attempt; values at these paths of its answer are `remote.NAME` in the main request.

    `field` is the path of the field that the main request sets: what a person has set there stays. With `absent`, the
    field is empty if the object that it stands in is there without it; else that is refused as a mistake in the path.
    """

    get: str
    keep: Mapping[str, str] = {}
    field: str = ""
    absent: Literal["", "empty"] = ""

    @property
    def place(self) -> tuple[str, str]:
        """Return the path of the object in which the field stands, and the field's name there."""
        inside, _, name = self.field.rpartition(".")
        return inside, name


class UndoSpec(NamedTuple):
    """The request, sent before a new delivery, that undoes an earlier delivery to the same destination."""

    endpoint: str
    method: str = "DELETE"
    body: Any = None


class HttpSpec(NamedTuple):
    """The request of a destination of type `http`; string leaves of its trees are templates.

    `endpoint` follows the address. `given` are the values of the keys that a preset needs, for its templates.
    """

    preset: str | None = None
    method: str = "POST"
    url: str | None = None
    url_env: str | None = None
    endpoint: str = ""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    auth: AuthSpec | None = None
    key_env: str | None = None
    body: Any = None
    form: Mapping[str, str] = {}
    ok: AnswerTest = AnswerTest()
    retry: AnswerTest | None = None
    keep: Mapping[str, str] = {}
    find: FindSpec | None = None
    once: OnceSpec | None = None
    undo: UndoSpec | None = None
    given: Mapping[str, str] = {}

    @property
    def guards_field(self) -> bool:
        """Return whether what a person has set in a field there is not overwritten."""
        return self.find is not None and bool(self.find.field)

    @property
    def remembers(self) -> bool:
        """Return whether its requests depend on what was delivered of the same ticket before."""
        return bool(self.keep or self.undo) or self.guards_field


# The default templates of a mail.
SUBJECT = "[{{ category }}] {{ ticket.subject | one_line | truncate(150) }}"
TEXT = """\
{{ ticket.description | truncate(20000) }}

--
category: {{ category }}
confidence: {{ confidence | default("-") }}
priority: {{ ticket.priority | default("-") }}
customer: {{ ticket.customer_id | default("-") }}
ticket: {{ ticket.external_id | default(ticket.ticket_id) }}
rule: {{ rule }}
"""


class MailSpec(NamedTuple):
    """The mail of a destination of type `mail`, and the mail server; `subject` and `text` are templates."""

    host: str
    sender: str
    to: tuple[str, ...] = ()
    port: int = 587
    tls: Literal["implicit", "starttls", "none"] = "starttls"
    user_env: str | None = None
    password_env: str | None = None
    subject: str = SUBJECT
    text: str = TEXT


# The presets that set a field of a helpdesk's ticket; the others add labels or messages.
FIELD_PRESETS = frozenset({"freshdesk"})


class DestinationSpec(NamedTuple):
    """One destination as configured; paths in it are absolute, `secret_env` names the newest secret first."""

    name: str
    type: str  # webhook | http | mail | command | file
    url: str | None = None
    secret_env: tuple[str, ...] = ()
    max_attempts: int = 7
    timeout: float = 15
    run: tuple[str, ...] = ()
    final_exit: tuple[int, ...] = ()
    path: Path | None = None
    retry_schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)
    allow_private: bool = False
    http: HttpSpec | None = None
    mail: MailSpec | None = None

    @property
    def names_field(self) -> bool:
        """Return whether it is known to set a field of a helpdesk's ticket to the category."""
        return self.http is not None and (self.http.guards_field or self.http.preset in FIELD_PRESETS)

    @property
    def sets_field(self) -> bool:
        """Return whether it may set a field of a helpdesk's ticket to the category.

        What a webhook's receiver, a program or a request of one's own sets is not known.
        """
        if self.http is not None and self.http.preset is not None:
            return self.http.preset in FIELD_PRESETS
        return self.type not in ("file", "mail")

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield the variables with its secrets, each with its key in the configuration."""
        yield from (("secret_env", name) for name in self.secret_env)
        if self.http:
            named = (("url_env", self.http.url_env), ("key_env", self.http.key_env))
            yield from ((key, name) for key, name in named if name)
            yield from (("auth", name) for name in (self.http.auth.env if self.http.auth else ()))
        if self.mail:
            login = (("user_env", self.mail.user_env), ("password_env", self.mail.password_env))
            yield from ((key, name) for key, name in login if name)
