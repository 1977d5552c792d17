"""The SQLite schema as statements, by the version that they lead to.

Ids and times are text, leases and due times are seconds since 1970, money is USD. The columns of a table stand in the
order of its record's fields.
"""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime

SET = "triage"  # of migrations
NAMES = ("first", "second", "third", "fourth")  # of the migrations, in their order
# As sqlite-utils makes it.
BOOKKEEPING = (
    """create table "_sqlite_migrations" (
        "id" integer primary key, "migration_set" text, "name" text, "applied_at" text)""",
    """create unique index "idx__sqlite_migrations_migration_set_name"
        on "_sqlite_migrations" ("migration_set", "name")""",
)

CORE: tuple[str, ...] = (
    """create table runs (
        run_id text primary key, kind text not null, actor text not null, words text not null, started_at text not null,
        host text not null, pid integer not null, max_cost real, spent real not null, reserved real not null,
        ended_at text, counts text not null, exit_code integer, summary text,
        lease_until real not null default 0)""",
    "create index runs_alive on runs (lease_until) where ended_at is null",
    """create table tickets (
        ticket_id text primary key, identity text not null unique, source text not null, external_id text,
        content_hash text not null, subject text, description text, customer_id text, priority text,
        urgency integer not null, created_at text, stored_at text not null, extra text not null,
        status text not null default 'new' check (status in ('new', 'classified', 'needs_review', 'failed', 'waiting',
            'routing', 'routed', 'unroutable', 'undeliverable')),
        category text, suggestion text, confidence real, confidence_source text, classifier text, reason text,
        verdict integer not null default 0, routed_to text, cost_usd real not null default 0, error text,
        failures integer not null default 0,
        decision_id text references classifications (classification_id) deferrable initially deferred,
        revision integer not null default 1)""",
    # What a run holds stands here and not in the ticket: to claim one is to write 70 bytes instead of its whole row.
    "create table claims (ticket_id text primary key, run_id text not null references runs (run_id)) without rowid",
    "create index claims_of on claims (run_id)",
    # One queue an index: a plain index over status would be written for every ticket of an import.
    "create index tickets_to_classify on tickets (urgency, ticket_id) where status in ('failed', 'new')",
    "create index tickets_to_route on tickets (urgency, ticket_id) where status in ('classified', 'unroutable')",
    "create index tickets_to_review on tickets (ticket_id) where status = 'needs_review'",
    """create table classifications (
        classification_id text primary key, ticket_id text not null references tickets (ticket_id), run_id text,
        step text not null, category text, confidence real, confidence_source text, reason text,
        classifier text not null, actor text not null, fingerprint text not null, threshold real, probabilities text,
        answer_key text not null, at text not null, reused text, input_tokens integer not null,
        output_tokens integer not null, cache_read integer not null, cache_write integer not null, cost real not null,
        redacted text, error text, raw real)""",
    "create index classifications_of on classifications (ticket_id)",
    # Only answers that cost something are recalled.
    """create index classifications_to_recall on classifications (answer_key)
        where reused is null and error is null and confidence_source not in ('model', 'human')""",
    """create view verdicts as select classification_id as verdict_id, ticket_id, category, actor, reason as note, at
        from classifications where confidence_source = 'human'""",
    """create table askings (
        fingerprint text primary key, kind text not null, model text not null, endpoint text not null,
        prompt text not null, categories text not null, options text not null, first_at text not null)""",
    """create table deliveries (
        delivery_id text primary key, ticket_id text not null references tickets (ticket_id),
        classification_id text, category text not null, destination text not null, rule text not null,
        config_hash text not null, replaces text, state text not null, attempts integer not null, due_at real not null,
        last_status integer, last_error text, run_id text, at text not null, done_at text)""",
    "create index deliveries_due on deliveries (destination, due_at) where state = 'pending'",
    "create index deliveries_of on deliveries (ticket_id)",
    """create table attempts (
        delivery_id text not null references deliveries (delivery_id), number integer not null, at text not null,
        status integer, error text, seconds real not null, primary key (delivery_id, number))""",
    # Former names of categories; `root` is the first one, by which questions that were asked are recognised.
    """create table renames (
        old text primary key, new text not null, root text not null, moved integer not null, at text not null)""",
    "create table switched_off (destination text primary key, at text not null)",
    """create table events (
        seq integer primary key, timestamp text not null, action text not null, ticket_id text, actor text not null,
        run_id text, detail text not null, hash text not null)""",
    "create index events_of on events (ticket_id)",
    """create trigger events_never_change before update on events
        begin select raise(abort, 'the audit log is append-only'); end""",
    """create trigger events_never_go before delete on events
        begin select raise(abort, 'the audit log is append-only'); end""",
    # `key` is the mark of the key that the log is written with.
    "create table chain (one integer primary key check (one = 1), seq integer not null, hash text not null, key text)",
    f"insert into chain values (1, 0, '{'0' * 64}', null)",
)
# The embedded model's weights: as fitted to the categories alone, and versions fitted to labelled tickets; curves that
# make a confidence a probability; answers paid for by `eval`, without a customer's words.
LEARNING: tuple[str, ...] = (
    """create table models (
        fingerprint text primary key, weights blob not null, metrics text not null, at text not null)""",
    """create table versions (
        version integer primary key, categories text not null, weights blob not null, metrics text not null,
        active integer not null, actor text not null, at text not null)""",
    """create table calibrations (
        fingerprint text primary key, classifier text not null, curve text not null, method text not null,
        n integer not null, error_before real not null, error_after real not null, at text not null)""",
    """create table trials (
        answer_key text primary key, classification_id text not null, step text not null, category text,
        confidence real, confidence_source text, classifier text not null, actor text not null,
        fingerprint text not null, at text not null, input_tokens integer not null, output_tokens integer not null,
        cache_read integer not null, cache_write integer not null, cost real not null)""",
)
# Keys of the API, and what keeps its callers within bounds.
ACCESS: tuple[str, ...] = (
    """create table api_keys (
        key_id text primary key, name text not null unique, hash blob not null, role text not null,
        created_at text not null, last_used_at text, revoked_at text)""",
    "create table rate_limits (key_id text primary key, full_at real not null)",
    """create table idempotency (
        key_id text not null, key text not null, body_hash text not null, lease_until real not null, status integer,
        answer text, at real not null, primary key (key_id, key))""",
    "create index idempotency_old on idempotency (at)",
    """create table hook_ids (
        source text not null, hook_id text not null, at real not null, primary key (source, hook_id))""",
    "create index hook_ids_old on hook_ids (at)",
)
# What waits in a provider's batch.
BATCHES: tuple[str, ...] = (
    """create table batches (
        batch_id text primary key, classifier text not null, address text not null, fingerprint text not null,
        labels text not null, options text not null, paid_by text not null, opened_at text not null,
        state text not null check (state in ('gathering', 'sending', 'submitted', 'ended', 'returned')),
        requests integer not null, sent_at text, provider_id text, ended_at text, error text, run_id text)""",
    """create table batch_items (
        batch_id text not null references batches (batch_id), ticket_id text not null references tickets (ticket_id),
        number integer not null, answer_key text not null, was text not null, reserved real not null, redacted text,
        state text not null check (state in ('waiting', 'answered', 'returned')), primary key (batch_id, ticket_id))""",
    "create index batch_items_waiting on batch_items (batch_id, number) where state = 'waiting'",
    "create index batch_items_asked on batch_items (answer_key) where state = 'waiting'",
)
FIRST = (*CORE, *LEARNING, *ACCESS, *BATCHES)
# `inherited`: what a run took over from a killed one of the same command; it bounds the run, but stands on that one's
# account. `settled`: of what is spent, what other runs put there. `place`: where `pid` means the run's process.
SECOND: tuple[str, ...] = (
    "alter table runs add column inherited real not null default 0",
    "alter table runs add column settled real not null default 0",
    "alter table runs add column place text not null default ''",
    # It answers what a day has cost, and holds only what did cost something: a server makes a run of each request.
    "create index runs_paid on runs (started_at, spent, reserved) where spent + reserved <> 0",
)
THIRD: tuple[str, ...] = (
    # The ticket that a webhook's event made or changed, so that its repetition is answered with it.
    "alter table hook_ids add column ticket_id text",
    # The categories that were used last, the file that names them (null: none does) and its machine.
    """create table classified_by (
        one integer primary key check (one = 1), categories text not null, path text, host text not null,
        at text not null)""",
    # A delivery's place in its ticket's history, and whether it may have arrived although nothing was accepted.
    "alter table deliveries add column revision integer not null default 0",
    "alter table deliveries add column targets text default null",
    "alter table deliveries add column doubtful integer not null default 0",
    # When runs spent, to the minute; what was on the books before counts as spent when its run ended, or else began.
    """create table bookings (
        minute text not null, run_id text not null, usd real not null, primary key (minute, run_id)) without rowid""",
    # Without a lease nothing tells when a killed run was last heard of, and with it for how long its calls count.
    """insert into bookings select substr(coalesce(ended_at, started_at), 1, 16), run_id,
        spent + case when lease_until = 0 then reserved else 0 end from runs where spent + reserved <> 0""",
    "drop index runs_paid",
    "create index runs_reserving on runs (lease_until, reserved) where reserved <> 0",
    # The request that began a run, where it may come again.
    "alter table runs add column parcel text not null default ''",
    "create index runs_of_parcel on runs (parcel) where parcel <> ''",
    # When a run's process began: its number may be another one's later.
    "alter table runs add column process text not null default ''",
    # The version that was active when this one was compared with what was in use, 0 for the built-in model.
    "alter table versions add column based_on integer default null",
    # A ticket that came back to a category used to count as delivered there. It is routed once more: the destination
    # that its last decision names was told by another one's delivery, which nothing has replaced, that it left.
    """update tickets set status = 'classified', revision = revision + 1
        where status = 'routed' and content_hash <> '' and exists (
            select 1 from deliveries here join deliveries away on away.replaces = here.delivery_id
            where here.ticket_id = tickets.ticket_id and here.category = tickets.category
                and ', ' || tickets.routed_to || ', ' like '%, ' || here.destination || ', %'
                and ', ' || tickets.routed_to || ', ' not like '%, ' || away.destination || ', %'
                and here.state = 'accepted' and away.state = 'accepted' and away.category <> here.category
                and not exists (select 1 from deliveries back where back.replaces = away.delivery_id))""",
)
# A forgotten ticket was `routed` up to version 2, wherever it had been. Run last of all that leads to version 3.
MARK_FORGOTTEN = """update tickets set status = 'forgotten'
    where identity >= '!' and identity < '"' and external_id is null
    and exists (select 1 from events where events.ticket_id = tickets.ticket_id and action = 'forgotten')"""
STATUSES_OF_FIRST = "'routing', 'routed', 'unroutable', 'undeliverable')"
STATUSES_OF_THIRD = "'routing', 'routed', 'unroutable', 'undeliverable', 'forgotten')"
# What a destination's answer held: kept of an accepted delivery, as a JSON object, and the beginning of a refusal.
FOURTH: tuple[str, ...] = (
    "alter table deliveries add column kept text default null",
    "alter table attempts add column answer text default null",
)
# By the version that they lead to.
LATER: dict[int, tuple[str, ...]] = {2: SECOND, 3: THIRD, 4: FOURTH}


def admit_forgotten(execute: Callable[[str], sqlite3.Cursor]) -> None:
    """Let tickets have the status `forgotten`, which the first version did not know.

    SQLite changes no check of a table that is there, so another takes its place. Foreign keys must be off: they go by
    the name, and that stays.
    """
    of_tickets = "select sql from sqlite_master where tbl_name = 'tickets' and sql is not null and type"
    (made,) = execute(f"{of_tickets} = 'table'").fetchone()
    beside = execute(f"{of_tickets} in ('index', 'trigger')").fetchall()
    execute("pragma legacy_alter_table = on")  # else views and foreign keys would follow the old table
    execute("alter table tickets rename to tickets_before")
    execute(made.replace(STATUSES_OF_FIRST, STATUSES_OF_THIRD))
    execute("insert into tickets select * from tickets_before")
    execute("drop table tickets_before")
    execute("pragma legacy_alter_table = off")
    for (statement,) in beside:
        execute(statement)


def third(execute: Callable[[str], sqlite3.Cursor]) -> None:
    """Bring a database of the second version to the third."""
    admit_forgotten(execute)
    for statement in (*THIRD, MARK_FORGOTTEN):
        execute(statement)


def build(connection: sqlite3.Connection, version: int) -> None:
    """Build a new database; the caller holds the write lock.

    It is what `migrating.migrate` makes, its bookkeeping too. But sqlite-utils takes 70 ms to import, a third of what a
    first command takes, and is left to the databases that are there already.
    """
    for statement in (*FIRST, *SECOND):
        connection.execute(statement)
    third(connection.execute)
    for statement in (*FOURTH, *BOOKKEEPING):
        connection.execute(statement)
    applied = [(SET, name, str(datetime.now(UTC))) for name in NAMES]
    bookkeeping = "insert into _sqlite_migrations (migration_set, name, applied_at) values (?, ?, ?)"
    connection.executemany(bookkeeping, applied)
    connection.execute(f"pragma user_version = {version}")
