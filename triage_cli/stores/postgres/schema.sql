-- The tables of a PostgreSQL database, at the version that the program knows. Older ones are brought here by
-- migrations.py. Tables and columns are those of SQLite, so that what is written over one runs on the other. Text
-- compares by its bytes in SQLite, hence the collation. Statements are parted by an empty line.

-- Bulk commands. inherited: what a run took over from a killed one of the same command; it bounds the run, but stands on
-- that one's account. settled: of what is spent, what other runs booked there. place: the machine on which pid names a
-- process. process: when that process began, since its number may be another one's later. parcel: the request that began
-- the run, where it may come again. served: 1 if a server began the run. import_id: the same for all runs of
-- one import. max_cost: unused.
create table runs (
    run_id text collate "C" primary key, kind text collate "C" not null, actor text collate "C" not null,
    words text collate "C" not null, started_at text collate "C" not null, host text collate "C" not null,
    pid bigint not null, max_cost double precision, spent double precision not null,
    reserved double precision not null, ended_at text collate "C", counts text collate "C" not null,
    exit_code bigint, summary text collate "C", lease_until double precision not null default 0,
    inherited double precision not null default 0, settled double precision not null default 0,
    place text collate "C" not null default '', parcel text collate "C" not null default '',
    process text collate "C" not null default '', served bigint not null default 0,
    import_id text collate "C" not null default ''
);

create index runs_alive on runs (lease_until) where ended_at is null;

create index runs_reserving on runs (lease_until, reserved) where reserved <> 0;

create index runs_of_parcel on runs (parcel) where parcel <> '';

create index runs_of_import on runs (import_id) where import_id <> '';

-- verdict: 1 where a person gave the category. revision: grows with each change, which is refused where it was decided
-- on an older one.
create table tickets (
    ticket_id text collate "C" primary key, identity text collate "C" not null unique,
    source text collate "C" not null, external_id text collate "C", content_hash text collate "C" not null,
    subject text collate "C", description text collate "C", customer_id text collate "C",
    priority text collate "C", urgency bigint not null, created_at text collate "C",
    stored_at text collate "C" not null, extra text collate "C" not null,
    status text collate "C" not null default 'new' check (status in (
        'new', 'classified', 'needs_review', 'failed', 'waiting', 'routing', 'routed', 'unroutable', 'undeliverable',
        'forgotten', 'withdrawn')),
    category text collate "C", suggestion text collate "C", confidence double precision,
    confidence_source text collate "C", classifier text collate "C", reason text collate "C",
    verdict bigint not null default 0, routed_to text collate "C", cost_usd double precision not null default 0,
    error text collate "C", failures bigint not null default 0, decision_id text collate "C",
    revision bigint not null default 1, answers text collate "C" not null default '{}',
    unanswered bigint not null default 0, language text collate "C"
);

-- One queue an index: a plain index over status would be written for every ticket of an import.
create index tickets_to_classify on tickets (urgency, ticket_id) where status in ('failed', 'new');

create index tickets_to_answer on tickets (urgency, ticket_id) where unanswered = 1;

create index tickets_to_route on tickets (urgency, ticket_id) where status in ('classified', 'unroutable');

create index tickets_to_review on tickets (ticket_id) where status = 'needs_review';

-- When a customer wrote, for what compares periods.
create index tickets_by_time on tickets (coalesce(created_at, stored_at));

create index tickets_with_verdict on tickets (ticket_id) where verdict = 1;

-- What answers `list` and an id's ending among ten million tickets. A new ticket is written to the last two only.
create index tickets_by_status on tickets (status, ticket_id)
    where status not in ('new', 'needs_review', 'routed');

create index tickets_by_category on tickets (category, ticket_id) where category is not null;

create index tickets_by_classifier on tickets (classifier, ticket_id) where classifier is not null;

create index tickets_by_customer on tickets (customer_id, ticket_id) where customer_id is not null;

create index tickets_by_ending on tickets (reverse(ticket_id));

-- What a run holds stands here and not in the ticket: to claim one is to write 70 bytes instead of its whole row.
create table claims (
    ticket_id text collate "C" primary key, run_id text collate "C" not null references runs (run_id)
);

create index claims_of on claims (run_id);

create table classifications (
    classification_id text collate "C" primary key,
    ticket_id text collate "C" not null references tickets (ticket_id), run_id text collate "C",
    step text collate "C" not null, category text collate "C", confidence double precision,
    confidence_source text collate "C", reason text collate "C", classifier text collate "C" not null,
    actor text collate "C" not null, fingerprint text collate "C" not null, threshold double precision,
    probabilities text collate "C", answer_key text collate "C" not null, at text collate "C" not null,
    reused text collate "C", input_tokens bigint not null, output_tokens bigint not null,
    cache_read bigint not null, cache_write bigint not null, cost double precision not null,
    redacted text collate "C", error text collate "C", raw double precision,
    question text collate "C" not null default 'category', nearest text collate "C"
);

create index classifications_of on classifications (ticket_id);

-- Only answers that cost something are recalled.
create index classifications_to_recall on classifications (answer_key)
    where reused is null and error is null and confidence_source not in ('model', 'human');

-- Answers that follow a precedent, by the digest of their text.
create index classifications_following on classifications (answer_key) where confidence_source = 'precedent';

-- Answers among which `stats` looks for audited ones.
create index classifications_paid on classifications (ticket_id, run_id)
    where confidence_source in ('decision', 'logprob', 'said') and error is null;

-- What was asked of a classifier, once per fingerprint.
create table askings (
    fingerprint text collate "C" primary key, kind text collate "C" not null, model text collate "C" not null,
    endpoint text collate "C" not null, prompt text collate "C" not null, categories text collate "C" not null,
    options text collate "C" not null, first_at text collate "C" not null
);

-- revision: the place of a delivery in its ticket's history. targets: the destinations of the decision. doubtful: it may
-- have arrived although nothing was accepted. kept: of the answer, as a JSON object. refusal: why it was refused, where
-- another step than a retry helps. paced: attempts that a rate limit refused until a time that it named. content_hash:
-- of the text that was sent last, or is to be sent. addition: the key of the rule that added a delivery beside those of
-- the ticket's decision.
create table deliveries (
    delivery_id text collate "C" primary key,
    ticket_id text collate "C" not null references tickets (ticket_id), classification_id text collate "C",
    category text collate "C" not null, destination text collate "C" not null, rule text collate "C" not null,
    config_hash text collate "C" not null, replaces text collate "C", state text collate "C" not null,
    attempts bigint not null, due_at double precision not null, last_status bigint, last_error text collate "C",
    run_id text collate "C", at text collate "C" not null, done_at text collate "C",
    revision bigint not null default 0, targets text collate "C" default null,
    doubtful bigint not null default 0, kept text collate "C" default null, refusal text collate "C" default null,
    paced bigint not null default 0, content_hash text collate "C" default null,
    addition text collate "C" not null default '', begun_by text collate "C" default null
);

create index deliveries_due on deliveries (destination, due_at) where state = 'pending';

create index deliveries_pending on deliveries (at) where state = 'pending';

create index deliveries_of on deliveries (ticket_id);

create index deliveries_dead on deliveries (ticket_id) where state = 'dead';

create index deliveries_added on deliveries (addition, ticket_id) where addition <> '';

-- answer: the beginning of a refusal.
create table attempts (
    delivery_id text collate "C" not null references deliveries (delivery_id), number bigint not null,
    at text collate "C" not null, status bigint, error text collate "C", seconds double precision not null,
    answer text collate "C" default null, primary key (delivery_id, number)
);

-- Former names of categories; root is the first one, by which questions that were asked are recognised.
create table renames (
    old text collate "C" not null, new text collate "C" not null, root text collate "C" not null,
    moved bigint not null, at text collate "C" not null,
    question text collate "C" not null default 'category', primary key (question, old)
);

create table switched_off (
    destination text collate "C" primary key, at text collate "C" not null
);

-- The audit log; each hash covers the event and the hash before it.
create table events (
    seq bigint generated by default as identity primary key, timestamp text collate "C" not null,
    action text collate "C" not null, ticket_id text collate "C", actor text collate "C" not null,
    run_id text collate "C", detail text collate "C" not null, hash text collate "C" not null
);

create index events_of on events (ticket_id);

create function events_never_change() returns trigger language plpgsql as
    $$ begin raise exception 'the audit log is append-only' using errcode = 'restrict_violation'; end $$;

create trigger events_never_change before update on events for each row execute function events_never_change();

create function events_never_go() returns trigger language plpgsql as
    $$ begin raise exception 'the audit log is append-only' using errcode = 'restrict_violation'; end $$;

create trigger events_never_go before delete on events for each row execute function events_never_go();

create trigger events_never_go_at_once before truncate on events execute function events_never_go();

-- Where the audit log ends; key is a mark of the key of its hashes.
create table chain (
    one bigint generated by default as identity primary key check (one = 1), seq bigint not null,
    hash text collate "C" not null, key text collate "C"
);

-- What was learned: weights under a fingerprint; versions of the embedded model, of which based_on is the one that was
-- active when it was compared (0: the built-in model); curves that make a confidence a probability; answers paid for by
-- eval, without a customer's text.
create table models (
    fingerprint text collate "C" primary key, weights bytea not null, metrics text collate "C" not null,
    at text collate "C" not null
);

create table versions (
    version bigint generated by default as identity primary key, categories text collate "C" not null,
    weights bytea not null, metrics text collate "C" not null, active bigint not null,
    actor text collate "C" not null, at text collate "C" not null, based_on bigint default null,
    question text collate "C" not null default 'category', run_id text collate "C"
);

create index versions_in_use on versions (version, active, based_on, question, run_id);

create table learned_from (
    version bigint not null, ticket_id text collate "C" not null, labelled bigint not null,
    primary key (version, ticket_id)
);

create table calibrations (
    fingerprint text collate "C" primary key, classifier text collate "C" not null,
    curve text collate "C" not null, method text collate "C" not null, n bigint not null,
    error_before double precision not null, error_after double precision not null, at text collate "C" not null
);

create table trials (
    answer_key text collate "C" primary key, classification_id text collate "C" not null,
    step text collate "C" not null, category text collate "C", confidence double precision,
    confidence_source text collate "C", classifier text collate "C" not null, actor text collate "C" not null,
    fingerprint text collate "C" not null, at text collate "C" not null, input_tokens bigint not null,
    output_tokens bigint not null, cache_read bigint not null, cache_write bigint not null,
    cost double precision not null, probabilities text collate "C",
    question text collate "C" not null default 'category'
);

-- graded_answers: what classifiers answered about the labelled texts of eval --calibrate, without the texts.
-- error_bounds: the thresholds that keep max_error, as they were found last.
create table graded_answers (
    fingerprint text collate "C" not null, answer_key text collate "C" not null,
    category text collate "C" not null, confidence double precision not null,
    label text collate "C" not null, at text collate "C" not null, probabilities text collate "C",
    question text collate "C" not null default 'category', primary key (fingerprint, answer_key)
);

create table error_bounds (
    classifier text collate "C" not null, fingerprint text collate "C" not null,
    category text collate "C" not null, max_error double precision not null, threshold double precision,
    labelled bigint not null, wrong bigint not null, upper double precision not null,
    missing bigint not null, at text collate "C" not null,
    question text collate "C" not null default 'category', primary key (classifier, question, category, max_error)
);

-- The evaluations that ran last, by how the question was asked; `n` answers were measured, `sure` of them were sure, and
-- `wrong` of these were wrong.
create table evaluations (
    fingerprint text collate "C" primary key, n bigint not null, at text collate "C" not null,
    sure bigint not null default 0, wrong bigint not null default 0
);

-- Spikes that were sent, so that each is sent once while it goes on; members are ids of tickets, as a JSON list.
create table spikes (
    spike_id text collate "C" primary key, kind text collate "C" not null, category text collate "C",
    members text collate "C" not null, first_at text collate "C" not null, last_at text collate "C" not null,
    destination text collate "C" not null, delivered_at text collate "C"
);

-- Keys of the API, and what keeps its callers within bounds.
create table api_keys (
    key_id text collate "C" primary key, name text collate "C" not null unique, hash bytea not null,
    role text collate "C" not null, created_at text collate "C" not null, last_used_at text collate "C",
    revoked_at text collate "C", expires_at text collate "C"
);

create table rotated_keys (
    key_id text collate "C" primary key, name text collate "C" not null, hash bytea not null,
    expires_at text collate "C" not null
);

create table rate_limits (
    key_id text collate "C" primary key, full_at double precision not null
);

create table being_asked (answer_key text collate "C" primary key, run_id text collate "C" not null);

create table idempotency (
    key_id text collate "C" not null, key text collate "C" not null, body_hash text collate "C" not null,
    lease_until double precision not null, status bigint, answer text collate "C", at double precision not null,
    ticket_id text collate "C", primary key (key_id, key)
);

create index idempotency_old on idempotency (at);

create index idempotency_of on idempotency (ticket_id) where ticket_id is not null;

-- Events of webhooks that have come before, and the ticket that each made or changed.
create table hook_ids (
    source text collate "C" not null, hook_id text collate "C" not null, at double precision not null,
    ticket_id text collate "C", primary key (source, hook_id)
);

create index hook_ids_old on hook_ids (at);

-- What waits in a provider's batch.
create table batches (
    batch_id text collate "C" primary key, classifier text collate "C" not null,
    address text collate "C" not null, fingerprint text collate "C" not null, labels text collate "C" not null,
    options text collate "C" not null, paid_by text collate "C" not null, opened_at text collate "C" not null,
    state text collate "C" not null check (state in ('gathering', 'sending', 'submitted', 'ended', 'returned')),
    requests bigint not null, sent_at text collate "C", provider_id text collate "C", ended_at text collate "C",
    error text collate "C", run_id text collate "C", questions text collate "C" not null default '{}'
);

create table batch_items (
    batch_id text collate "C" not null references batches (batch_id),
    ticket_id text collate "C" not null references tickets (ticket_id), number bigint not null,
    answer_key text collate "C" not null, was text collate "C" not null, reserved double precision not null,
    redacted text collate "C",
    state text collate "C" not null check (state in ('waiting', 'answered', 'returned')),
    asked text collate "C" not null default '["category"]', primary key (batch_id, ticket_id)
);

create index batch_items_waiting on batch_items (batch_id, number) where state = 'waiting';

create index batch_items_asked on batch_items (answer_key) where state = 'waiting';

-- The categories that were used last, the file that names them (null: none does) and its machine.
create table classified_by (
    one bigint generated by default as identity primary key check (one = 1),
    categories text collate "C" not null, path text collate "C", host text collate "C" not null,
    at text collate "C" not null
);

-- When runs spent, to the minute.
create table bookings (
    minute text collate "C" not null, run_id text collate "C" not null, usd double precision not null,
    primary key (minute, run_id)
);

-- What is counted with each change: tickets (no category or classifier: an empty text), deliveries, paid and other answers.
create table ticket_counts (
    status text collate "C" not null, category text collate "C" not null, classifier text collate "C" not null,
    day text collate "C" not null,
    number bigint not null,
    primary key (status, category, classifier, day)
);

create table delivery_counts (
    destination text collate "C" not null, state text collate "C" not null, number bigint not null,
    primary key (destination, state)
);

create table answer_counts (
    classifier text collate "C" primary key, number bigint not null, failures bigint not null,
    usd double precision not null
);

-- How far each source has been read, as its own reader understands it.
create table source_cursors (
    source text collate "C" primary key, position text collate "C" not null, saved_at text collate "C" not null
);

-- How files were read the last time, by a hash of their columns: the column of each field, as JSON.
create table readings (
    header text collate "C" primary key, source text collate "C" not null, columns text collate "C" not null,
    at text collate "C" not null
);

-- Rules that add deliveries, by their keys, and when each was first seen; tickets that an import changed, and when it did
-- so last.
create table added_rules (
    addition text collate "C" primary key, rule text collate "C" not null, first_at text collate "C" not null
);

create table changed_tickets (
    ticket_id text collate "C" primary key, at text collate "C" not null
);

create index changed_tickets_at on changed_tickets (at);

-- Verdicts on questions that tickets with the same text follow: digest is a hash of the text's folded words. And those
-- whose followers may have lost their precedent; mark tells one change of a text from the next.
create table precedents (
    ticket_id text collate "C" not null, question text collate "C" not null, digest text collate "C" not null,
    verdict_id text collate "C" not null, primary key (ticket_id, question)
);

create index precedents_of on precedents (digest, question);

create table changed_precedents (
    digest text collate "C" not null, question text collate "C" not null, mark text collate "C" not null, primary key (digest, question)
);

-- Numbers of the words of tickets, by which similar ones are found; filled in by whoever looks for some.
create table ticket_words (
    ticket_id text collate "C" primary key, words bytea not null
);

create view verdicts as select classification_id as verdict_id, ticket_id, category, actor, reason as note, at
    from classifications where confidence_source = 'human';

-- What holds of each further question about a ticket, for whoever reads the database with tools of their own.
create view answers as select ticket_id, key as question, given ->> 'value' as value,
    given ->> 'suggestion' as suggestion, (given ->> 'confidence')::double precision as confidence,
    given ->> 'classifier' as classifier, coalesce((given ->> 'verdict')::boolean::int::bigint, 0) as verdict,
    coalesce(given ->> 'state', 'unanswered') as state
    from tickets, json_each(answers::json) as each_answer (key, given);

-- The head of the log, kept apart from it as the file beside a SQLite database is, and written with each event: a log
-- whose end was cut off ends before it.
create table last_head (
    one bigint primary key check (one = 1), seq bigint not null, hash text collate "C" not null
);

alter table tickets add foreign key (decision_id)
    references classifications (classification_id) deferrable initially deferred;

insert into chain values (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', null);

insert into last_head select 1, seq, hash from chain;
