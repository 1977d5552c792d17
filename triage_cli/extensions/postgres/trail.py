"""Reading the audit log on a server in order to verify it.

Its head is kept in the table `last_head`, written in the transaction of each event.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import takewhile

from triage_cli import domain as dm
from triage_cli.extensions.postgres import migrations
from triage_cli.stores import UNLOGGED_ROWS, ServerStore, on_one_line

# Translates `UNLOGGED_ROWS` to PostgreSQL, where the detail of an event is text as well.
_JSON_EXTRACT = re.compile(r"json_extract\((\w+), '\$\.(\w+)'\)")
_JSON_EACH = re.compile(r"json_each\((\w+), '\$\.(\w+)'\)")
_PRESENT_TRIGGERS = """select t.tgname, p.prosrc from pg_trigger t join pg_proc p on p.oid = t.tgfoid
    where t.tgrelid = 'events'::regclass and t.tgenabled in ('O', 'A')"""


class ServerTrail:
    """Implements `ports.AuditLogReader` on a PostgreSQL database, up to the head that it had when this was made."""

    place = "in the table last_head"

    def __init__(self, store: ServerStore) -> None:
        self.mend = f'psql {shlex.quote(store.shown)} -c "insert into last_head select 1, seq, hash from chain"'
        self._store = store
        # First, so that what is stored meanwhile is missing from it at most, not from the log.
        kept_rows = store.database.read("select seq, hash from last_head")
        self._kept = dm.Head(kept_rows[0][1], kept_rows[0][0]) if kept_rows else None
        chain_rows = store.database.read("select seq, hash, key from chain")
        last_seq, head, key_mark = chain_rows[0] if chain_rows else (0, "", None)
        self._recorded = dm.Head(head, last_seq), key_mark

    def recorded_head(self) -> tuple[dm.Head, str | None]:
        return self._recorded

    def kept_head(self) -> dm.Head | None:
        return self._kept

    def events(self) -> Iterator[dm.EventRow]:
        """Yield the events up to that head."""
        return takewhile(lambda event: event.seq <= self._recorded[0].events, self._store.log.events(dm.EventQuery()))

    def second_half(
        self, _head: dm.Head, _key: bytes | None, _heads: Mapping[str, str]
    ) -> AbstractContextManager[None]:
        return nullcontext()  # its events come over the network

    def strays(self) -> Iterator[str]:
        triggers = self._store.database.read(_PRESENT_TRIGGERS)
        present_triggers = {(trigger_name, on_one_line(body)) for trigger_name, body in triggers}
        if not present_triggers.issuperset((trigger_name, migrations.GUARD) for trigger_name in migrations.TRIGGERS):
            yield "the triggers that keep the log append-only are gone"
        for sentence, query in UNLOGGED_ROWS.items():
            translated = _JSON_EACH.sub(
                r"json_each(\1::json -> '\2')", _JSON_EXTRACT.sub(r"(\1::json ->> '\2')", query)
            )
            for (row_id,) in self._store.database.read(translated):
                yield sentence.format(row_id)
