"""The one error tree: each error knows its code, its exit code, its HTTP status, and whether it ends a run."""

from triage_cli.domain.exit_codes import ExitCode


class TriageError(Exception):
    """Something the user can be told in one sentence; `hint` says what to do next."""

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
    """The command was called in a way that cannot be carried out."""

    code = "usage"
    exit_code = ExitCode.USAGE
    http_status = 422


class ConfigError(UsageError):
    """The configuration holds mistakes; `problems` lists every one of them."""

    code = "config"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class InputError(UsageError):
    """The input is no table of tickets."""

    code = "input"


class StoreError(UsageError):
    """The database cannot be used as it is: no database, newer than the program, or not writable."""

    code = "database"
    http_status = 500


class NoDatabaseError(StoreError):
    """There is no database where one is named, and the command at work makes none."""

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
    """A request's body did not come in time."""

    code = "slow"
    http_status = 408


class MediaTypeError(UsageError):
    """A request's body is of a type that this endpoint does not read."""

    code = "media_type"
    http_status = 415


class UnavailableError(TriageError):
    """A provider, a destination, a remote or the disk does not answer for now: nothing was lost, try later."""

    code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE
    http_status = 503


class ExhaustedError(UnavailableError):
    """This process, or its machine, has no more file descriptors or memory: no fault of the other side's."""

    code = "exhausted"


class UnknownOutcomeError(UnavailableError):
    """It cannot be told whether the other side has taken what it was sent: a later run looks again."""


class TakenOverError(UnavailableError):
    """Another run has taken this one for dead and goes on with its work."""


class BusyError(UnavailableError):
    """Somebody else is at the same thing just now; `retry_after` is the seconds to wait."""

    code = "busy"
    http_status = 409

    def __init__(self, message: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimitedError(BusyError):
    """A key has made more requests than it may; `retry_after` is the seconds to wait."""

    code = "limited"
    http_status = 429


class OverloadedError(BusyError):
    """The server has as much at work as it can; `retry_after` is the seconds to wait."""

    code = "full"
    http_status = 503


class BudgetError(TriageError):
    """The next call might exceed what may be spent."""

    code = "budget"
    exit_code = ExitCode.BUDGET
    http_status = 402


class CheckError(TriageError):
    """A check the caller asked for did not hold."""

    code = "check_failed"
    exit_code = ExitCode.CHECK_FAILED
    http_status = 409


class ItemError(TriageError):
    """One item failed; the run goes on and ends with 3."""

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
    """A destination did not take a delivery; `final` when asking again cannot help.

    `doubtful` when it may have taken it all the same: what it said did not arrive. `gone` when the destination says
    that it is there no more, `answer` is the beginning of what it said.
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
    """A delivery waits, since its destination needs the network and that is switched off."""

    code = "offline"
    exit_code = ExitCode.OK
    http_status = 503


class TemporaryError(TriageError):
    """One request failed in a way that may pass: the retry loop decides what becomes of it.

    `retry_after` is what the other side asked for in seconds, `limited` means too many requests, `reached` that
    there was an answer at all, and `lost` that the other side may have done its work, so that it is to be paid.
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
