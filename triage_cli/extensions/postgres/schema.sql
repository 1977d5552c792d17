-- What only a PostgreSQL database has, after the tables of ../sqlite/schema.sql. Statements are parted by an empty line.

-- What answers `list` and an id's ending among ten million tickets. A new ticket is written to the last two only.
create index tickets_by_status on tickets (status, ticket_id)
    where status not in ('new', 'needs_review', 'routed');

create index tickets_by_category on tickets (category, ticket_id) where category is not null;

create index tickets_by_classifier on tickets (classifier, ticket_id) where classifier is not null;

create index tickets_by_customer on tickets (customer_id, ticket_id) where customer_id is not null;

create index tickets_by_ending on tickets (reverse(ticket_id));

create index claims_of on claims (run_id);

create function events_never_change() returns trigger language plpgsql as
    $$ begin raise exception 'the audit log is append-only' using errcode = 'restrict_violation'; end $$;

create trigger events_never_change before update on events for each row execute function events_never_change();

create function events_never_go() returns trigger language plpgsql as
    $$ begin raise exception 'the audit log is append-only' using errcode = 'restrict_violation'; end $$;

create trigger events_never_go before delete on events for each row execute function events_never_go();

create trigger events_never_go_at_once before truncate on events execute function events_never_go();

-- The head of the log, kept apart from it as the file beside a SQLite database is, and written with each event: a log
-- whose end was cut off ends before it.
create table last_head (
    one bigint primary key check (one = 1), seq bigint not null, hash text collate "C" not null
);

insert into last_head select 1, seq, hash from chain;
