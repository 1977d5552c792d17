"""The errors of the program. Each class has a code, an exit code, an HTTP status, and tells whether it ends a run."""

from collections.abc import Iterator

from triage_cli.domain.exit_codes import ExitCode


class TriageError(Exception):
    """An error for a user, in one sentence; `hint` says what to do next."""

    code = "unexpected"
    exit_code = ExitCode.UNEXPECTED
    http_status = 500
    stops_run = True

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def sentence(self) -> str:
        """Return message and hint as one line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(TriageError):
    """The command cannot be carried out as it was called."""

    code = "usage"
    exit_code = ExitCode.USAGE
    http_status = 422


class ConfigError(UsageError):
    """The configuration is invalid; `problems` lists all mistakes."""

    code = "config"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class PrivateAddressError(ConfigError):
    """A destination has a private address, to which a server sends only if the configuration allows it."""


class InputError(UsageError):
    """The input cannot be read as a table of tickets."""

    code = "input"


class StoreError(UsageError):
    """The database cannot be used: not one of triage, newer than the program, or not writable."""

    code = "database"
    http_status = 500


class NoDatabaseError(StoreError):
    """There is no database, and this command does not create one."""

    def __init__(self, shown: str) -> None:
        super().__init__(f"there is no database at {shown}", hint="triage create FILE makes one, --db names another")


class NotFoundError(TriageError):
    """No ticket has this name."""

    code = "not_found"
    exit_code = ExitCode.NOT_FOUND
    http_status = 404


class AmbiguousError(UsageError):
    """Several tickets have this name."""

    code = "ambiguous"
    http_status = 409


class RefusedError(TriageError):
    """A key is missing or wrong, or its role may not do this."""

    code = "refused"
    exit_code = ExitCode.REFUSED
    http_status = 403


class UnauthenticatedError(RefusedError):
    """No valid key came with the request."""

    code = "unauthenticated"
    http_status = 401


class TooLargeError(UsageError):
    """A request is larger than the server takes."""

    code = "too_large"
    http_status = 413


class RequestTimeoutError(UsageError):
    """The body of a request did not arrive in time."""

    code = "slow"
    http_status = 408


class MediaTypeError(UsageError):
    """A request's body is of a type that this endpoint does not read."""

    code = "media_type"
    http_status = 415


class UnavailableError(TriageError):
    """A provider, destination, remote or disk is unavailable for now; nothing was lost."""

    code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE
    http_status = 503


class ExhaustedError(UnavailableError):
    """This process or its machine has no file descriptors or memory left."""

    code = "exhausted"


# Errors of deliveries that were not attempted: nothing was sent, and they stay pending.
NOT_ATTEMPTED = (ExhaustedError, PrivateAddressError)


class UnknownOutcomeError(UnavailableError):
    """It is unknown whether the other side has processed a request; a later run checks again."""


class TakenOverError(UnavailableError):
    """Another run has ended this one, because its lease was over, and continues its work."""


class BusyError(UnavailableError):
    """Somebody else is doing the same just now; `retry_after` is the seconds to wait."""

    code = "busy"
    http_status = 409

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimitedError(BusyError):
    """An API key has used up its rate limit; `retry_after` is the seconds to wait."""

    code = "limited"
    http_status = 429


class OverloadedError(BusyError):
    """The server works at its capacity; `retry_after` is the seconds to wait."""

    code = "full"
    http_status = 503


class BudgetError(TriageError):
    """The next call might exceed the budget."""

    code = "budget"
    exit_code = ExitCode.BUDGET
    http_status = 402


class CheckError(TriageError):
    """A check that the caller asked for failed."""

    code = "check_failed"
    exit_code = ExitCode.CHECK_FAILED
    http_status = 409


class ItemError(TriageError):
    """One item failed; the run continues, and exits with 3."""

    code = "failed"
    exit_code = ExitCode.PARTIAL
    http_status = 422
    stops_run = False


class RowError(ItemError):
    """A row of the input cannot become a ticket."""

    code = "rejected"


class AnswerError(ItemError):
    """A classifier could not answer this ticket."""

    code = "no_answer"
    http_status = 502


class NotClassifiedError(ItemError):
    """The ticket has no category yet, so it cannot be routed."""

    code = "not_classified"
    exit_code = ExitCode.OK
    http_status = 400


class NoRouteError(ItemError):
    """No rule of the routing map matches the ticket."""

    code = "unroutable"
    http_status = 409


class DeliveryError(ItemError):
    """A destination did not accept a delivery; `final` if a retry cannot help.

    `doubtful` if it may have accepted it, because its response was lost; `gone` if it answered that it does not exist
    any more; `answer` is the beginning of its response.
    """

    code = "delivery_failed"
    http_status = 502

    def __init__(
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
    ) -> None:
        super().__init__(message, hint=hint)
        self.final = final
        self.status = status
        self.retry_after = retry_after
        self.doubtful = doubtful
        self.gone = gone
        self.answer = answer


class OfflineError(ItemError):
    """A delivery waits, because its destination needs the network, which is switched off."""

    code = "offline"
    exit_code = ExitCode.OK
    http_status = 503


class TemporaryError(TriageError):
    """One request failed, and a retry may help; raised to the retry loop.

    `retry_after` is the wait that the other side asked for, in seconds; `limited` means too many requests; `reached`
    that the other side answered; `lost` that it may have processed the request, which must then be paid.
    """

    code = "temporary"
    exit_code = ExitCode.UNAVAILABLE
    http_status = 503
    stops_run = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        limited: bool = False,
        reached: bool = True,
        lost: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.limited = limited
        self.reached = reached
        self.lost = lost


def codes() -> Iterator[str]:
    """Yield the code of every error, and those that only HTTP has."""
    yield "method_not_allowed"
    kinds = (value for value in globals().values() if isinstance(value, type) and issubclass(value, TriageError))
    yield from sorted({kind.code for kind in kinds})
