"""A person's words leave a database: what each store does alike."""

import shlex
from abc import abstractmethod
from collections.abc import Sequence

from triage_cli.domain.ids import now
from triage_cli.domain.serialization import compact
from triage_cli.stores.database import Tables
from triage_cli.stores.queries import TYPED

# Erases what holds words of a ticket, or a hash of them, beside `tickets`. A new table that may hold such belongs here.
# What was still to be sent is not: without the text there is nothing to send.
ERASE = (
    # Before the answers' own keys go: a trial knows no ticket, only the question.
    """delete from trials where answer_key in (select answer_key from classifications
        where ticket_id in (select value from json_each(:ids)))""",
    """update batch_items set answer_key = '', state = case when state = 'waiting' then 'returned' else state end
        where ticket_id in (select value from json_each(:ids))""",
    """update classifications set reason = null, answer_key = ''
        where ticket_id in (select value from json_each(:ids))""",
    # An answer that a provider still owes is kept without its words.
    "update batch_items set answer_key = '' where ticket_id in (select value from json_each(:ids))",
    """update attempts set error = '(forgotten)', answer = null where error is not null and delivery_id in
        (select delivery_id from deliveries where ticket_id in (select value from json_each(:ids)))""",
    """update deliveries set last_error = null, kept = null, run_id = null,
        done_at = case when state in ('pending', 'dead') then :at else done_at end,
        state = case when state in ('pending', 'dead') then 'superseded' else state end
        where ticket_id in (select value from json_each(:ids))""",
)
# The identity of a forgotten ticket begins so; an id may too.
FORGOT = "select 1 from tickets where identity >= '!' and identity < '\"' limit 1"
# The HTTP API keeps its answers for a day, whole tickets among them.
ERASE_ANSWERS = "delete from idempotency where answer like ?"
# A run that a request made tells no names: all of one endpoint have the same words.
NAMES = """select external_id from tickets where external_id is not null
    and ticket_id in (select value from json_each(:ids))"""
CALLED = f"select distinct words from runs where {TYPED}"


def _nameless(command_line: str, names: set[str]) -> str:
    """Return a command as it was typed, without the names by which it called tickets."""
    typed = shlex.split(command_line)
    return command_line if names.isdisjoint(typed) else " ".join("…" if w in names else shlex.quote(w) for w in typed)


class Forgetting(Tables):
    """The part of every store that forgets; `scrub` is each store's own."""

    @abstractmethod
    def scrub(self) -> None:
        """Leave no trace of what was erased or overwritten, as far as that is the store's to do."""

    def erase(self, ticket_ids: Sequence[str]) -> None:
        """Blank what is known of tickets outside of their own row; once or many times is the same."""
        with self.database.transaction() as db:
            for statement in ERASE:
                db.execute(statement, {"ids": compact(list(ticket_ids)), "at": now()})
            for ticket_id in ticket_ids:
                db.execute(ERASE_ANSWERS, (f"%{ticket_id}%",))
            names = {row[0] for row in db.execute(NAMES, {"ids": compact(list(ticket_ids))}).fetchall()}
            for (command_line,) in db.execute(CALLED).fetchall():
                if (kept := _nameless(command_line, names)) != command_line:
                    db.execute("update runs set words = ? where words = ?", (kept, command_line))

    def forgot(self) -> bool:
        """Tell whether anybody may have been forgotten here: cheap, and so asked again and again."""
        return bool(self.database.read(FORGOT))
