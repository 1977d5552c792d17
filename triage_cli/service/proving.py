"""The audit log is held against itself, against the tables it speaks of, and then against heads kept elsewhere."""

from collections.abc import Mapping

from triage_cli import auditing
from triage_cli.errors import CheckError
from triage_cli.models import Head
from triage_cli.ports import Trail


def prove(trail: Trail, key: bytes | None, heads: Mapping[str, str]) -> Head:
    """Return the head of a log that is whole. Raises `CheckError` for the first thing that does not hold.

    `heads` maps the hashes of heads that must be in the log to where they were kept. Without any there must be the one
    that the store keeps apart from its log.
    """
    ends_at, mark = trail.told()
    _agree(mark, key)
    kept, damage = _kept(trail)
    where = {kept.head: f"kept {trail.place} (of event {kept.events})", **heads} if kept else heads
    head, missing = auditing.recompute(trail.events(), key, where)
    if head != ends_at:
        raise CheckError(
            f"the log ends at event {head.events}, but event {ends_at.events} was written", hint=auditing.RESTORE
        )
    for stray in trail.strays():
        raise CheckError(f"the log is whole, but {stray}", hint=auditing.RESTORE)
    if damage is not None:
        raise damage
    for place in missing.values():
        raise auditing.absent(place, head)
    if kept is None and not heads:
        raise CheckError(
            f"the log is whole up to event {head.events}, but no head is kept {trail.place}, so a cut end would not be "
            "seen",
            hint=f"give --expect-head HASH or --heads FILE; to keep one again: {trail.mend}",
        )
    return head


def _kept(trail: Trail) -> tuple[Head | None, CheckError | None]:
    """Return the head that is kept apart from the log, and what is wrong with it."""
    try:
        return trail.kept(), None
    except CheckError as error:
        return None, error


def _agree(mark: str | None, key: bytes | None) -> None:
    if mark is not None and key is None:
        raise CheckError("the log is written with a key", hint="set TRIAGE_AUDIT_KEY to it")
    if mark is not None and mark != auditing.mark(key):
        raise CheckError("the log is written with another key than TRIAGE_AUDIT_KEY", hint="set that one")
