"""The steps that bring an older database forward, in SQLite's SQL; PostgreSQL has its own types for the columns.

Each change stands in the schema of SQLite too, for new databases. What only PostgreSQL does, which comes
first in a step, is in its `migrations.py` and, for new databases, in its schema.
"""

from collections.abc import Callable, Mapping

from triage_cli.stores import data_migrations
from triage_cli.stores.database import Rows

# The statements by the name of the version that they lead to, from the second on.
STEPS: dict[str, tuple[str, ...]] = {
    "second": (
        "alter table runs add column inherited real not null default 0",
        "alter table runs add column settled real not null default 0",
        "alter table runs add column place text not null default ''",
        # For the cost of a day. Partial, because most runs of a server cost nothing.
        "create index runs_paid on runs (started_at, spent, reserved) where spent + reserved <> 0",
    ),
    "third": (
        # The ticket that a webhook event created or changed, with which a repeated event is answered.
        "alter table hook_ids add column ticket_id text",
        # The categories that were used last, their configuration file (null: none) and its machine.
        """create table classified_by (
            one integer primary key check (one = 1), categories text not null, path text, host text not null,
            at text not null)""",
        # The revision of the ticket that a delivery is for, and whether an unconfirmed delivery may have arrived.
        "alter table deliveries add column revision integer not null default 0",
        "alter table deliveries add column targets text default null",
        "alter table deliveries add column doubtful integer not null default 0",
        # What runs spent, by the minute.
        """create table bookings (
            minute text not null, run_id text not null, usd real not null, primary key (minute, run_id)
        ) without rowid""",
        data_migrations.BOOK_OLD_RUNS,
        "drop index runs_paid",
        "create index runs_reserving on runs (lease_until, reserved) where reserved <> 0",
        # The request that began a run, if it may be repeated.
        "alter table runs add column parcel text not null default ''",
        "create index runs_of_parcel on runs (parcel) where parcel <> ''",
        # When a run's process started, since process ids are used again.
        "alter table runs add column process text not null default ''",
        # The active version that this one was compared with, 0 for the built-in model.
        "alter table versions add column based_on integer default null",
        data_migrations.ROUTE_RETURNED_TICKETS,
        data_migrations.MARK_FORGOTTEN,
    ),
    "fourth": (
        "alter table deliveries add column kept text default null",
        "alter table attempts add column answer text default null",
    ),
    "fifth": ("create table source_cursors (source text primary key, position text not null, saved_at text not null)",),
    "sixth": (
        """create table graded_answers (
            fingerprint text not null, answer_key text not null, category text not null, confidence real not null,
            label text not null, at text not null, primary key (fingerprint, answer_key))""",
        """create table error_bounds (
            classifier text not null, fingerprint text not null, category text not null, max_error real not null,
            threshold real, labelled integer not null, wrong integer not null, upper real not null,
            missing integer not null, at text not null, primary key (classifier, category, max_error))""",
        "create index tickets_by_time on tickets (coalesce(created_at, stored_at))",
        "create index tickets_with_verdict on tickets (ticket_id) where verdict = 1",
    ),
    "seventh": (
        "alter table api_keys add column expires_at text",
        """create table rotated_keys (
            key_id text primary key, name text not null, hash blob not null, expires_at text not null)""",
    ),
    "eighth": (
        """create table spikes (
            spike_id text primary key, kind text not null, category text, members text not null, first_at text not null,
            last_at text not null, destination text not null, delivered_at text)""",
    ),
    "ninth": (
        """create table ticket_counts (
            status text not null, category text not null, classifier text not null, day text not null,
            number integer not null, primary key (status, category, classifier, day)
        ) without rowid""",
        """create table delivery_counts (
            destination text not null, state text not null, number integer not null, primary key (destination, state)
        ) without rowid""",
        """create table answer_counts (
            classifier text primary key, number integer not null, failures integer not null, usd real not null
        )""",
        """create index classifications_paid on classifications (ticket_id, run_id)
            where confidence_source in ('decision', 'logprob', 'said') and error is null""",
        *data_migrations.COUNT_ALL,
    ),
    "tenth": ("create index deliveries_pending on deliveries (at) where state = 'pending'",),
    "eleventh": (
        "alter table runs add column served integer not null default 0",
        data_migrations.MARK_SERVED_RUNS,
        "alter table deliveries add column refusal text default null",
        data_migrations.NAME_REFUSALS,
    ),
    "twelfth": ("alter table deliveries add column paced integer not null default 0",),
    "thirteenth": ("alter table deliveries add column content_hash text default null", data_migrations.KNOW_SENT_TEXTS),
    "fourteenth": (
        """create table readings (
            header text primary key, source text not null, columns text not null, at text not null)""",
    ),
    "fifteenth": (
        "alter table deliveries add column addition text not null default ''",
        "create index deliveries_dead on deliveries (ticket_id) where state = 'dead'",
        "create index deliveries_added on deliveries (addition, ticket_id) where addition <> ''",
        "create table added_rules (addition text primary key, rule text not null, first_at text not null)",
        "create table changed_tickets (ticket_id text primary key, at text not null)",
        "create index changed_tickets_at on changed_tickets (at)",
    ),
    "sixteenth": (
        "alter table runs add column import_id text not null default ''",
        "create index runs_of_import on runs (import_id) where import_id <> ''",
    ),
    "seventeenth": (
        "alter table tickets add column answers text not null default '{}'",
        "alter table tickets add column unanswered integer not null default 0",
        "create index tickets_to_answer on tickets (urgency, ticket_id) where unanswered = 1",
        "alter table classifications add column question text not null default 'category'",
    ),
    "eighteenth": (
        "create table precedents (ticket_id text primary key, digest text not null)",
        "create index precedents_of on precedents (digest)",
        "create table changed_precedents (digest text primary key, mark text not null)",
        """create index classifications_following on classifications (answer_key)
            where confidence_source = 'precedent'""",
    ),
    "nineteenth": (
        "alter table trials add column probabilities text",
        "alter table graded_answers add column probabilities text",
    ),
    "twentieth": ("create table ticket_words (ticket_id text primary key, words blob not null) without rowid",),
    "twenty-first": ("alter table tickets add column language text",),
    "twenty-second": ("alter table classifications add column nearest text",),
    "twenty-third": (
        "alter table precedents rename to precedents_before",
        "alter table changed_precedents rename to changed_before",
        """create table precedents (
            ticket_id text not null, question text not null, digest text not null, verdict_id text not null,
            primary key (ticket_id, question))""",
        """create table changed_precedents (
            digest text not null, question text not null, mark text not null, primary key (digest, question))""",
        *data_migrations.KEEP_PRECEDENTS,
    ),
    "twenty-fourth": (
        "alter table batches add column questions text not null default '{}'",
        """alter table batch_items add column asked text not null default '["category"]'""",
    ),
    "twenty-fifth": (
        "alter table versions add column question text not null default 'category'",
        "alter table versions add column run_id text",
        "create index versions_in_use on versions (version, active, based_on, question, run_id)",
        "alter table trials add column question text not null default 'category'",
        "alter table graded_answers add column question text not null default 'category'",
    ),
    "twenty-sixth": (
        "create table being_asked (answer_key text primary key, run_id text not null) without rowid",
        "alter table idempotency add column ticket_id text",
        "create index idempotency_of on idempotency (ticket_id) where ticket_id is not null",
        "delete from idempotency where status is not null",  # the answers that hold whole tickets
        "create table evaluations (fingerprint text primary key, n integer not null, at text not null)",
        "alter table deliveries add column begun_by text default null",
        # Of what a run held, nobody knew whether it was being sent.
        "update deliveries set begun_by = run_id where state = 'pending' and run_id is not null",
        """create table learned_from (
            version integer not null, ticket_id text not null, labelled integer not null,
            primary key (version, ticket_id)) without rowid""",
    ),
    "twenty-seventh": (
        "alter table evaluations add column sure integer not null default 0",
        "alter table evaluations add column wrong integer not null default 0",
        """create table labelled_texts (
            text_id text primary key, question text not null, identity text not null, source text not null,
            proves integer not null, text text, label text, customer_id text, written_at text, stored_at text not null,
            status text not null default 'held' check (status in ('held', 'forgotten', 'withdrawn')),
            unique (question, identity))""",
        "create index labelled_texts_of on labelled_texts (customer_id) where customer_id is not null",
        """create table labelled_by (
            run_id text not null, text_id text not null, primary key (run_id, text_id)) without rowid""",
        "create index labelled_by_runs on labelled_by (text_id)",
    ),
    # The views, which schema.sql has, are made anew after the last step; these had no place among the promised ones.
    "twenty-eighth": ("drop view if exists answers", "drop view verdicts"),
}
# What fills the tables of a step with what SQL cannot compute.
FILLED: Mapping[str, Callable[[Callable[..., Rows]], None]] = {
    "eighteenth": data_migrations.fill_precedents,
    "twenty-sixth": data_migrations.fill_twenty_sixth,
}
