"""Erasing the text of forgotten and withdrawn tickets from all tables."""

import shlex
from collections.abc import Collection, Mapping, Sequence

from triage_cli.domain import compact, now
from triage_cli.stores.database import Db

# Erases words of a ticket, and hashes of them, from all tables but `tickets`. A new table that may hold them must be
# added here. Pending deliveries are cancelled, because without the text there is nothing to send.
ERASE_TEXTS = (
    # First, while `classifications` still has the keys: trials and graded answers refer to no ticket.
    """delete from trials where answer_key in (select answer_key from classifications
        where ticket_id in (select value from json_each(:ids)))""",
    # After the key of an answer they have that of the text's copies.
    """delete from graded_answers where (fingerprint, answer_key) in (select g.fingerprint, g.answer_key
        from classifications c join graded_answers g
        on g.fingerprint = c.fingerprint and g.answer_key >= c.answer_key and g.answer_key < c.answer_key || '!'
        where c.ticket_id in (select value from json_each(:ids)))""",
    # The request stays with the provider, who bills it: its item waits for the cost alone.
    "update batch_items set answer_key = '' where ticket_id in (select value from json_each(:ids))",
    "delete from ticket_words where ticket_id in (select value from json_each(:ids))",
    "delete from precedents where ticket_id in (select value from json_each(:ids))",
    """update classifications set reason = null, answer_key = ''
        where ticket_id in (select value from json_each(:ids))""",
    """update attempts set error = '(forgotten)', answer = null where error is not null and delivery_id in
        (select delivery_id from deliveries where ticket_id in (select value from json_each(:ids)))""",
    """update deliveries set last_error = null, refusal = null, kept = null, content_hash = null,
        run_id = null,
        done_at = case when state in ('pending', 'dead') then :at else done_at end,
        state = case when state in ('pending', 'dead') then 'superseded' else state end
        where ticket_id in (select value from json_each(:ids))""",
)
# Stored responses of the HTTP API may hold whole tickets.
ERASE_STORED_RESPONSES = "delete from idempotency where answer like ?"
# Command lines may name tickets by their external ids. Runs of requests name none.
EXTERNAL_IDS = """select ticket_id, external_id from tickets where external_id is not null
    and ticket_id in (select value from json_each(?))"""
COMMAND_LINES = "select distinct words from runs where served = 0"


def external_ids_of(db: Db, ticket_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the external ids of tickets that have one, by their ids, in an open transaction."""
    return dict(db.execute(EXTERNAL_IDS, (compact(list(ticket_ids)),)).fetchall())


def _without_external_ids(command_line: str, external_ids: Collection[str]) -> str:
    """Return a command line with these names replaced by an ellipsis."""
    arguments = shlex.split(command_line)
    if not any(argument in external_ids for argument in arguments):
        return command_line
    return " ".join("…" if argument in external_ids else shlex.quote(argument) for argument in arguments)


def erase_texts(db: Db, ticket_ids: Sequence[str], external_ids: Collection[str] = ()) -> None:
    """Erase the text of tickets from all tables but `tickets`, in an open transaction.

    `external_ids` are those that the tickets had.
    """
    values = {"ids": compact(list(ticket_ids)), "at": now()}
    for statement in ERASE_TEXTS:
        db.execute(statement, values)
    for ticket_id in ticket_ids:
        db.execute(ERASE_STORED_RESPONSES, (f"%{ticket_id}%",))
    for (command_line,) in db.execute(COMMAND_LINES).fetchall() if external_ids else ():
        if (erased := _without_external_ids(command_line, external_ids)) != command_line:
            db.execute("update runs set words = ? where words = ?", (erased, command_line))
