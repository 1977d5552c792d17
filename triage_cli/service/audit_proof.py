"""Verifies the audit log: by its own hashes, against the tables, and against heads that are kept elsewhere."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from threading import Thread
from typing import TypeVar

from triage_cli import domain as dm
from triage_cli.ports import AuditLogReader

BESIDE = "where a backup was copied there by hand, put it back by triage db restore"
ELSEWHERE = "a head from between a backup and its restore is rightly gone: triage logs --action restored"


Counted = Callable[[Iterable[dm.EventRow], int], Iterable[dm.EventRow]]


def uncounted(events: Iterable[dm.EventRow], _: int) -> Iterable[dm.EventRow]:
    """Return events as they are, without showing their progress."""
    return events


def prove(trail: AuditLogReader, key: bytes | None, heads: Mapping[str, str], counted: Counted = uncounted) -> dm.Head:
    """Return the head of a complete log. Raises `CheckError` for the first contradiction.

    `heads` maps the hashes of heads that must be in the log to where they were kept. Without any, the head that the
    store keeps apart from its log is required. `counted` passes on so many events, and may show their progress.
    """
    # First, since what is stored meanwhile may be missing from it, but not from the log.
    kept_head, damage = _kept_head(trail)
    recorded_head, key_mark = trail.recorded_head()
    _check_log_key(key_mark, key)
    places = {kept_head.head: f"kept {trail.place} (of event {kept_head.events})", **heads} if kept_head else heads
    first_stray = _begun(lambda: next(trail.strays(), None))  # the database compares, while this thread makes hashes
    try:
        with trail.second_half(recorded_head, key, places) as rest:
            events = counted(trail.events(), rest.begins if rest else recorded_head.events)
            head, missing_heads = dm.hash_chain.recompute(events, key, places, rest=rest)
    except Exception:
        wait([first_stray])  # whoever handles the error may go on to replace the database
        raise
    wait([first_stray])
    if head != recorded_head:
        raise dm.CheckError(
            f"the log ends at event {head.events}, but event {recorded_head.events} was written",
            hint=dm.hash_chain.RESTORE,
        )
    if (stray := first_stray.result()) is not None:
        raise dm.CheckError(f"the log is whole, but {stray}", hint=dm.hash_chain.RESTORE)
    if damage is not None:
        raise damage
    replaced_heads = set(_replaced_heads(trail.events())) if missing_heads else ()
    for hash_, place in missing_heads.items():
        if hash_ in heads:
            raise dm.hash_chain.missing_head_error(place, head, ELSEWHERE if replaced_heads else "")
        # The log records that a backup replaced that database: the restore was killed before it stored the head.
        if hash_ not in replaced_heads:
            raise dm.hash_chain.missing_head_error(place, head, BESIDE)
    if kept_head is None and not heads:
        raise dm.CheckError(
            f"the log is whole up to event {head.events}, but no head is kept {trail.place}, so a cut end would not be "
            "seen",
            hint=f"{dm.Step.KEPT_HEAD}; to keep one again: {trail.mend}",
        )
    return head


T = TypeVar("T")


def _begun(work: Callable[[], T]) -> Future[T]:
    """Begin work in a thread of its own, for which a program that is stopped does not wait; return its result."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that takes the result
            result.set_exception(error)

    Thread(target=run, name="tables", daemon=True).start()
    return result


def _replaced_heads(events: Iterable[dm.EventRow]) -> Iterator[str]:
    """Yield the heads of the databases that a restored backup replaced."""
    for event in map(dm.LoggedEvent._make, events):
        if event.action == dm.EventAction.RESTORED:
            with suppress(ValueError):  # it was altered, which its hash shows
                yield dm.replaced_head(event)


def _kept_head(trail: AuditLogReader) -> tuple[dm.Head | None, dm.CheckError | None]:
    """Return the head that is kept apart from the log, and the error if it is damaged."""
    try:
        return trail.kept_head(), None
    except dm.CheckError as error:
        return None, error


def _check_log_key(key_mark: str | None, key: bytes | None) -> None:
    if key_mark is not None and key is None:
        raise dm.CheckError("the log is written with a key", hint="set TRIAGE_AUDIT_KEY to it")
    if key_mark is not None and key_mark != dm.hash_chain.key_mark(key):
        raise dm.CheckError("the log is written with another key than TRIAGE_AUDIT_KEY", hint="set that one")
