"""The errors of the program. Each class has a code, an exit code, an HTTP status, and tells whether it ends a run."""

from collections.abc import Container, Iterator
from enum import IntEnum, StrEnum

from triage_cli.domain.next_steps import Step


class ExitCode(IntEnum):
    """The exit codes of the process; scripts depend on these numbers."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    PARTIAL = 3
    REFUSED = 4
    NOT_FOUND = 5
    UNAVAILABLE = 6
    BUDGET = 7
    CHECK_FAILED = 8
    INTERRUPTED = 130
    TERMINATED = 143


KILLED = 137  # the exit code that a shell reports for SIGKILL; recorded for a run that was killed

# The exit codes of a run that ended before it was done with all of its tickets.
EARLY_END: frozenset[int] = frozenset(
    (
        ExitCode.UNEXPECTED,
        ExitCode.REFUSED,
        ExitCode.UNAVAILABLE,
        ExitCode.BUDGET,
        ExitCode.INTERRUPTED,
        ExitCode.TERMINATED,
        KILLED,
    )
)

# If several exit codes apply, the first of these is returned.
PRECEDENCE = (
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
    ExitCode.UNEXPECTED,
    ExitCode.USAGE,
    ExitCode.REFUSED,
    ExitCode.NOT_FOUND,
    ExitCode.UNAVAILABLE,
    ExitCode.BUDGET,
    ExitCode.CHECK_FAILED,
    ExitCode.PARTIAL,
    ExitCode.OK,
)


def gravest(codes: Container[ExitCode]) -> ExitCode:
    """Return the exit code of a process for which several apply."""
    return next(code for code in PRECEDENCE if code in codes)


MAX_CAUSES = 10  # causes of an error that are examined


class TriageError(Exception):
    """An error that no other class describes, and the base of those that do.

    The message is one sentence for a user; `hint` says what to do next. The header of a class says how it differs
    from its base; an error that stops no run is one of an item.
    """

    code = "unexpected"
    exit_code = ExitCode.UNEXPECTED
    http_status = 500
    stops_run = True

    def __init_subclass__(
        cls, code: str = "", exit_code: ExitCode | None = None, http_status: int = 0, *, stops_run: bool | None = None
    ) -> None:
        """Set what the header of a class says."""
        super().__init_subclass__()
        cls.code = code or cls.code
        cls.exit_code = cls.exit_code if exit_code is None else exit_code
        cls.http_status = http_status or cls.http_status
        cls.stops_run = cls.stops_run if stops_run is None else stops_run

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def sentence(self) -> str:
        """Return the error's message and hint as one line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(TriageError, code="usage", exit_code=ExitCode.USAGE, http_status=422):
    """The command cannot be carried out as it was called."""


class ConfigError(UsageError, code="config"):
    """The configuration is invalid; `problems` lists all mistakes."""

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class WebPageError(ConfigError):
    """A provider answered with a web page: the address is wrong, or something stands in between."""


class PrivateAddressError(ConfigError):
    """A destination has a private address, to which a server sends only if the configuration allows it."""


class InputError(UsageError, code="input"):
    """The input cannot be read as a table of tickets."""


class StoreError(UsageError, code="database", http_status=503):
    """The database cannot be used: not one of triage, newer than the program, or not writable."""


class NoDatabaseError(StoreError):
    """There is no database, and this command does not create one."""

    def __init__(self, shown: str) -> None:
        super().__init__(f"there is no database at {shown}", hint="triage create FILE makes one, --db names another")


class NotFoundError(TriageError, code="not_found", exit_code=ExitCode.NOT_FOUND, http_status=404):
    """No ticket, run or key has this name."""


SHOWN_NAME = 60  # characters: what is piped in by mistake may be a whole ticket


def unknown_ticket(name: str, hint: str = "") -> NotFoundError:
    """Return the error about a name that no ticket has."""
    shown = name if len(name) <= SHOWN_NAME else name[: SHOWN_NAME - 1] + "…"
    usual = f"{Step.LIST} the ids; the last 6 characters of a ticket_id are enough"
    return NotFoundError(f'no ticket "{shown}"', hint=hint or usual)


def unknown_run(name: str) -> NotFoundError:
    """Return the error about a name that no run has."""
    shown = name if len(name) <= SHOWN_NAME else name[: SHOWN_NAME - 1] + "…"
    return NotFoundError(f'no run "{shown}"', hint=Step.RUN_ID)


class AmbiguousError(UsageError, code="ambiguous", http_status=409):
    """Several tickets have this name."""


class ForgottenError(UsageError, code="forgotten", http_status=410):
    """The ticket's text was erased since, and the answer that was to be repeated with it."""


class NoEndpointError(UsageError, code="no_endpoint", http_status=404):
    """The server has no such path: the address is wrong, or the server is older."""


class OutdatedClientError(UsageError, code="outdated_client", http_status=410):
    """The client is older than the server, which has no such path any more."""


class RefusedError(TriageError, code="refused", exit_code=ExitCode.REFUSED, http_status=403):
    """A key is missing or wrong, or its role may not do this."""


class UnauthenticatedError(RefusedError, code="unauthenticated", http_status=401):
    """No valid key came with the request."""


class TooLargeError(UsageError, code="too_large", http_status=413):
    """A request is larger than the server takes."""


class RequestTimeoutError(UsageError, code="slow", http_status=408):
    """The body of a request did not arrive in time."""


class MediaTypeError(UsageError, code="media_type", http_status=415):
    """A request's body is of a type that this endpoint does not read."""


class EncodingError(MediaTypeError):
    """A request's body is encoded, as by gzip."""


class UnavailableError(TriageError, code="unavailable", exit_code=ExitCode.UNAVAILABLE, http_status=503):
    """A provider, destination, remote or disk is unavailable for now; nothing was lost."""


class StoreUnavailableError(UnavailableError):
    """The database is unavailable for now; nothing that was finished is lost."""


class StoreRefusedError(RefusedError):
    """The database's server refuses this program's user."""


# The errors of a database, whose sentences name it: its address, user and path are nothing for callers of the API.
STORE_ERRORS = (StoreError, StoreUnavailableError, StoreRefusedError)


class ExhaustedError(UnavailableError, code="exhausted"):
    """This process or its machine has no file descriptors, memory or threads left."""

    retry_after = 1.0  # seconds to wait


class NoTokenError(UnavailableError):
    """An access token cannot be had for now; `retry_after` is the wait that its server asked for, in seconds."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class SuspendedError(UnavailableError):
    """This program was suspended for longer than its lease, so another may hold what it has begun."""


class TokenRefusedError(RefusedError):
    """The server of an access token gives none for these credentials, or a new token is refused where it is used."""


# The errors of deliveries that were not attempted: nothing was accepted, and they stay pending.
NOT_ATTEMPTED = (ExhaustedError, PrivateAddressError, NoTokenError, TokenRefusedError, SuspendedError)


class UnknownOutcomeError(UnavailableError):
    """It is unknown whether the other side has processed a request; a later run checks again."""


class TakenOverError(UnavailableError):
    """Another run has ended this one, because its lease was over, and continues its work."""


class BusyError(UnavailableError, code="busy", http_status=409):
    """Somebody else is doing the same just now; `retry_after` is the seconds to wait."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimitedError(BusyError, code="limited", http_status=429):
    """An API key has used up its rate limit; `retry_after` is the seconds to wait."""


class OverloadedError(BusyError, code="full", http_status=503):
    """The server works at its capacity; `retry_after` is the seconds to wait."""


class BudgetError(TriageError, code="budget", exit_code=ExitCode.BUDGET, http_status=402):
    """The next call might exceed the budget."""


class CheckError(TriageError, code="check_failed", exit_code=ExitCode.CHECK_FAILED, http_status=409):
    """A check that the caller asked for failed."""


class ItemError(TriageError, code="failed", exit_code=ExitCode.PARTIAL, http_status=422, stops_run=False):
    """One item failed; the run continues, and exits with 3."""


class RowError(ItemError, code="rejected"):
    """A row of the input cannot become a ticket."""


class UnknownValueError(RowError):
    """A verdict or a label is none of the question's values, or categories."""


class ChangedError(RowError, code="changed", http_status=412):
    """The ticket has changed since the caller saw it, so the verdict was not taken."""


class AnswerError(ItemError, code="no_answer", http_status=502):
    """A classifier could not answer this ticket."""


class NotClassifiedError(ItemError, code="not_classified", exit_code=ExitCode.OK, http_status=400):
    """The ticket has no category yet, so it cannot be routed."""


class NoRouteError(ItemError, code="unroutable", http_status=409):
    """No rule of the routing map matches the ticket."""


class Refusal(StrEnum):
    """Why a delivery was refused, if another step than a retry helps. The values are stored."""

    SET_BY_A_PERSON = "set_by_a_person"  # it would overwrite what a person has set in the helpdesk


class DeliveryError(ItemError, code="delivery_failed", http_status=502):
    """A destination did not accept a delivery; `final` if a retry cannot help.

    `doubtful` if it may have accepted it, because its response was lost; `gone` if it answered that it does not exist
    any more; `answer` is the beginning of its response; `refusal` is its kind, if one step helps against all of a kind.
    `limited` means too many requests; `retry_after` is the wait that it asked for, in seconds.
    """

    def __init__(  # noqa: PLR0913 - what is known of an attempt, each by its name
        self,
        message: str,
        *,
        hint: str = "",
        final: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
        doubtful: bool = False,
        gone: bool = False,
        answer: str | None = None,
        refusal: Refusal | None = None,
        limited: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.final = final
        self.status = status
        self.retry_after = retry_after
        self.doubtful = doubtful
        self.gone = gone
        self.answer = answer
        self.refusal = refusal
        self.limited = limited


class OfflineError(ItemError, code="offline", exit_code=ExitCode.OK, http_status=503):
    """A delivery waits, because its destination needs the network, which is switched off."""


class TemporaryError(TriageError, code="temporary", exit_code=ExitCode.UNAVAILABLE, http_status=503, stops_run=False):
    """One request failed, and a retry may help; raised to the retry loop.

    `brief` is the message without text of the other side, which may quote a ticket. `retry_after` is the wait that the
    other side asked for, in seconds; `limited` means too many requests; `reached` that the other side answered; `lost`
    that it may have processed the request, which must then be paid.
    """

    def __init__(
        self,
        message: str,
        *,
        brief: str | None = None,
        retry_after: float | None = None,
        limited: bool = False,
        reached: bool = True,
        lost: bool = False,
    ) -> None:
        super().__init__(message)
        self.brief = brief or message
        self.retry_after = retry_after
        self.limited = limited
        self.reached = reached
        self.lost = lost


def codes() -> Iterator[str]:
    """Yield the code of every error, and those that only HTTP has."""
    yield "method_not_allowed"
    errors = (value for value in globals().values() if isinstance(value, type) and issubclass(value, TriageError))
    yield from sorted({error.code for error in errors})


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    for _ in range(MAX_CAUSES):
        if error is None:
            return
        yield error
        # A group of errors has one for each address that was tried.
        first_error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = first_error or error.__cause__ or error.__context__
