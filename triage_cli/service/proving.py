"""The audit log is held against itself, against heads kept elsewhere, and against the tables it speaks of."""

from triage_cli import auditing
from triage_cli.errors import CheckError
from triage_cli.models import Head
from triage_cli.ports import Trail


def prove(trail: Trail, key: bytes | None, expected: str | None) -> Head:
    """Return the head of a log that is whole. Raises `CheckError` for the first thing that does not hold.

    `expected` is the hash of a head that was kept elsewhere. Without one there must be a head beside the database.
    """
    told, mark = trail.told()
    _agree(mark, key)
    heads = {expected: "that was expected"} if expected else {}
    kept = trail.kept()
    if kept is not None:
        heads.setdefault(kept.head, f"kept beside the database (of event {kept.events})")
    elif expected is None:
        raise CheckError(
            "no head is kept beside the database, so a cut end would not be seen",
            hint="give --expect-head HASH; if this is a copy, write one: triage audit head > DATABASE.head",
        )
    head = auditing.verify(trail.events(), key, heads)
    if head != told:
        raise CheckError(
            f"the log ends at event {head.events}, but event {told.events} was written", hint=auditing.RESTORE
        )
    for said in trail.strays():
        raise CheckError(f"the log is whole, but {said}", hint=auditing.RESTORE)
    return head


def _agree(mark: str | None, key: bytes | None) -> None:
    if mark is not None and key is None:
        raise CheckError("the log is written with a key", hint="set TRIAGE_AUDIT_KEY to it")
    if mark is not None and mark != auditing.mark(key):
        raise CheckError("the log is written with another key than TRIAGE_AUDIT_KEY", hint="set that one")
