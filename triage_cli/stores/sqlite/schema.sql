-- The tables of a database, at the version that the program knows; PostgreSQL has types of its own for their columns, and
-- more in its own schema. Older ones are brought here by migrations.py.
-- Ids and times are text, leases and due times are seconds since 1970, money is USD. The columns of a table stand in the
-- order of its record's fields. Statements are parted by an empty line.

-- Bulk commands. inherited: what a run took over from a killed one of the same command; it bounds the run, but stands on
-- that one's account. settled: of what is spent, what other runs booked there. place: the machine on which pid names a
-- process. process: when that process began, since its number may be another one's later. parcel: the request that began
-- the run, where it may come again. served: 1 if a server began the run. import_id: the same for all runs of
-- one import. max_cost: unused.
create table runs (
    run_id text primary key, kind text not null, actor text not null, words text not null,
    started_at text not null, host text not null, pid integer not null, max_cost real, spent real not null,
    reserved real not null, ended_at text, counts text not null, exit_code integer, summary text,
    lease_until real not null default 0, inherited real not null default 0, settled real not null default 0,
    place text not null default '', parcel text not null default '', process text not null default '',
    served integer not null default 0, import_id text not null default ''
);

create index runs_alive on runs (lease_until) where ended_at is null;

create index runs_reserving on runs (lease_until, reserved) where reserved <> 0;

create index runs_of_parcel on runs (parcel) where parcel <> '';

create index runs_of_import on runs (import_id) where import_id <> '';

-- verdict: 1 where a person gave the category. revision: grows with each change, which is refused where it was decided
-- on an older one. answers: to further questions, as a JSON object by question. unanswered: 1 where one of these is to be
-- asked.
create table tickets (
    ticket_id text primary key, identity text not null unique, source text not null, external_id text,
    content_hash text not null, subject text, description text, customer_id text, priority text,
    urgency integer not null, created_at text, stored_at text not null, extra text not null,
    status text not null default 'new' check (status in (
        'new', 'classified', 'needs_review', 'failed', 'waiting', 'routing', 'routed', 'unroutable', 'undeliverable',
        'forgotten', 'withdrawn')),
    category text, suggestion text, confidence real, confidence_source text, classifier text, reason text,
    verdict integer not null default 0, routed_to text, cost_usd real not null default 0, error text,
    failures integer not null default 0,
    decision_id text references classifications (classification_id) deferrable initially deferred,
    revision integer not null default 1, answers text not null default '{}',
    unanswered integer not null default 0, language text
);

-- One queue an index: a plain index over status would be written for every ticket of an import.
create index tickets_to_classify on tickets (urgency, ticket_id) where status in ('failed', 'new');

create index tickets_to_answer on tickets (urgency, ticket_id) where unanswered = 1;

create index tickets_to_route on tickets (urgency, ticket_id) where status in ('classified', 'unroutable');

create index tickets_to_review on tickets (ticket_id) where status = 'needs_review';

-- When a customer wrote, for what compares periods.
create index tickets_by_time on tickets (coalesce(created_at, stored_at));

create index tickets_with_verdict on tickets (ticket_id) where verdict = 1;

-- What a run holds stands here and not in the ticket: to claim one is to write 70 bytes instead of its whole row.
create table claims (
    ticket_id text primary key, run_id text not null references runs (run_id)
) without rowid;

create table classifications (
    classification_id text primary key, ticket_id text not null references tickets (ticket_id), run_id text,
    step text not null, category text, confidence real, confidence_source text, reason text,
    classifier text not null, actor text not null, fingerprint text not null, threshold real,
    probabilities text, answer_key text not null, at text not null, reused text, input_tokens integer not null,
    output_tokens integer not null, cache_read integer not null, cache_write integer not null,
    cost real not null, redacted text, error text, raw real,
    question text not null default 'category', nearest text
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
    fingerprint text primary key, kind text not null, model text not null, endpoint text not null,
    prompt text not null, categories text not null, options text not null, first_at text not null
);

-- revision: the place of a delivery in its ticket's history. targets: the destinations of the decision. doubtful: it may
-- have arrived although nothing was accepted. kept: of the answer, as a JSON object. refusal: why it was refused, where
-- another step than a retry helps. paced: attempts that a rate limit refused until a time that it named. content_hash:
-- of the text that was sent last, or is to be sent. addition: the key of the rule that added a delivery beside those of
-- the ticket's decision. begun_by: the run that has begun an attempt of which no result is stored yet.
create table deliveries (
    delivery_id text primary key, ticket_id text not null references tickets (ticket_id),
    classification_id text, category text not null, destination text not null, rule text not null,
    config_hash text not null, replaces text, state text not null, attempts integer not null,
    due_at real not null, last_status integer, last_error text, run_id text, at text not null, done_at text,
    revision integer not null default 0, targets text default null, doubtful integer not null default 0,
    kept text default null, refusal text default null, paced integer not null default 0,
    content_hash text default null, addition text not null default '', begun_by text default null
);

create index deliveries_due on deliveries (destination, due_at) where state = 'pending';

create index deliveries_pending on deliveries (at) where state = 'pending';

create index deliveries_of on deliveries (ticket_id);

create index deliveries_dead on deliveries (ticket_id) where state = 'dead';

create index deliveries_added on deliveries (addition, ticket_id) where addition <> '';

-- answer: the beginning of a refusal.
create table attempts (
    delivery_id text not null references deliveries (delivery_id), number integer not null, at text not null,
    status integer, error text, seconds real not null, answer text default null,
    primary key (delivery_id, number)
);

-- Former names of categories; root is the first one, by which questions that were asked are recognised.
create table renames (
    old text not null, new text not null, root text not null, moved integer not null, at text not null,
    question text not null default 'category', primary key (question, old)
);

create table switched_off (
    destination text primary key, at text not null
);

-- The audit log; each hash covers the event and the hash before it.
create table events (
    seq integer primary key, timestamp text not null, action text not null, ticket_id text, actor text not null,
    run_id text, detail text not null, hash text not null
);

create index events_of on events (ticket_id);

create trigger events_never_change before update on events
    begin select raise(abort, 'the audit log is append-only'); end;

create trigger events_never_go before delete on events
    begin select raise(abort, 'the audit log is append-only'); end;

-- Where the audit log ends; key is a mark of the key of its hashes.
create table chain (
    one integer primary key check (one = 1), seq integer not null, hash text not null, key text
);

-- What was learned: weights under a fingerprint; versions of the embedded model, of which based_on is the one that was
-- active when it was compared (0: the built-in model); curves that make a confidence a probability; answers paid for by
-- eval, without a customer's text.
create table models (
    fingerprint text primary key, weights blob not null, metrics text not null, at text not null
);

create table versions (
    version integer primary key, categories text not null, weights blob not null, metrics text not null,
    active integer not null, actor text not null, at text not null, based_on integer default null,
    question text not null default 'category', run_id text
);

-- The weights are large, and what is in use is looked for by all the rest.
create index versions_in_use on versions (version, active, based_on, question, run_id);

-- The tickets that a version has learned from; labelled: 1 where a label of the ticket taught, 0 where its text alone did.
create table learned_from (
    version integer not null, ticket_id text not null, labelled integer not null,
    primary key (version, ticket_id)
) without rowid;

create table calibrations (
    fingerprint text primary key, classifier text not null, curve text not null, method text not null,
    n integer not null, error_before real not null, error_after real not null, at text not null
);

create table trials (
    answer_key text primary key, classification_id text not null, step text not null, category text,
    confidence real, confidence_source text, classifier text not null, actor text not null,
    fingerprint text not null, at text not null, input_tokens integer not null, output_tokens integer not null,
    cache_read integer not null, cache_write integer not null, cost real not null, probabilities text,
    question text not null default 'category'
);

-- graded_answers: what classifiers answered about the labelled texts of eval --calibrate, without the texts.
-- error_bounds: the thresholds that keep max_error, as they were found last.
create table graded_answers (
    fingerprint text not null, answer_key text not null, category text not null, confidence real not null,
    label text not null, at text not null, probabilities text,
    question text not null default 'category', primary key (fingerprint, answer_key)
);

create table error_bounds (
    classifier text not null, fingerprint text not null, category text not null, max_error real not null,
    threshold real, labelled integer not null, wrong integer not null, upper real not null,
    missing integer not null, at text not null, question text not null default 'category',
    primary key (classifier, question, category, max_error)
);

-- The evaluations that ran last, by how the question was asked; `n` answers were measured, `sure` of them were sure, and
-- `wrong` of these were wrong.
create table evaluations (
    fingerprint text primary key, n integer not null, at text not null, sure integer not null default 0,
    wrong integer not null default 0
);

-- Spikes that were sent, so that each is sent once while it goes on; members are ids of tickets, as a JSON list.
create table spikes (
    spike_id text primary key, kind text not null, category text, members text not null, first_at text not null,
    last_at text not null, destination text not null, delivered_at text
);

-- Keys of the API, and what keeps its callers within bounds.
create table api_keys (
    key_id text primary key, name text not null unique, hash blob not null, role text not null,
    created_at text not null, last_used_at text, revoked_at text, expires_at text
);

create table rotated_keys (
    key_id text primary key, name text not null, hash blob not null, expires_at text not null
);

create table rate_limits (
    key_id text primary key, full_at real not null
);

-- Questions to paid classifiers that a run asks now, by answer key: no other one asks them meanwhile.
create table being_asked (answer_key text primary key, run_id text not null) without rowid;

create table idempotency (
    key_id text not null, key text not null, body_hash text not null, lease_until real not null, status integer,
    answer text, at real not null, ticket_id text, primary key (key_id, key)
);

create index idempotency_old on idempotency (at);

create index idempotency_of on idempotency (ticket_id) where ticket_id is not null;

-- Events of webhooks that have come before, and the ticket that each made or changed.
create table hook_ids (
    source text not null, hook_id text not null, at real not null, ticket_id text, primary key (source, hook_id)
);

create index hook_ids_old on hook_ids (at);

-- What waits in a provider's batch.
create table batches (
    batch_id text primary key, classifier text not null, address text not null, fingerprint text not null,
    labels text not null, options text not null, paid_by text not null, opened_at text not null,
    state text not null check (state in ('gathering', 'sending', 'submitted', 'ended', 'returned')),
    requests integer not null, sent_at text, provider_id text, ended_at text, error text, run_id text,
    questions text not null default '{}'
);

create table batch_items (
    batch_id text not null references batches (batch_id),
    ticket_id text not null references tickets (ticket_id), number integer not null, answer_key text not null,
    was text not null, reserved real not null, redacted text,
    state text not null check (state in ('waiting', 'answered', 'returned')),
    asked text not null default '["category"]', primary key (batch_id, ticket_id)
);

create index batch_items_waiting on batch_items (batch_id, number) where state = 'waiting';

create index batch_items_asked on batch_items (answer_key) where state = 'waiting';

-- The categories that were used last, the file that names them (null: none does) and its machine.
create table classified_by (
    one integer primary key check (one = 1), categories text not null, path text, host text not null,
    at text not null
);

-- When runs spent, to the minute.
create table bookings (
    minute text not null, run_id text not null, usd real not null, primary key (minute, run_id)
) without rowid;

-- What is counted with each change: tickets (no category or classifier: an empty text), deliveries, paid and other answers.
create table ticket_counts (
    status text not null, category text not null, classifier text not null, day text not null,
    number integer not null, primary key (status, category, classifier, day)
) without rowid;

create table delivery_counts (
    destination text not null, state text not null, number integer not null, primary key (destination, state)
) without rowid;

create table answer_counts (
    classifier text primary key, number integer not null, failures integer not null, usd real not null
);

-- How far each source has been read, as its own reader understands it.
create table source_cursors (
    source text primary key, position text not null, saved_at text not null
);

-- How files were read the last time, by a hash of their columns: the column of each field, as JSON.
create table readings (
    header text primary key, source text not null, columns text not null, at text not null
);

-- Rules that add deliveries, by their keys, and when each was first seen; tickets that an import changed, and when it did
-- so last.
create table added_rules (
    addition text primary key, rule text not null, first_at text not null
);

create table changed_tickets (
    ticket_id text primary key, at text not null
);

create index changed_tickets_at on changed_tickets (at);

-- Verdicts on questions that tickets with the same text follow: digest is a hash of the text's folded words. And those
-- whose followers may have lost their precedent; mark tells one change of a text from the next.
create table precedents (
    ticket_id text not null, question text not null, digest text not null,
    verdict_id text not null, primary key (ticket_id, question)
);

create index precedents_of on precedents (digest, question);

create table changed_precedents (
    digest text not null, question text not null, mark text not null, primary key (digest, question)
);

-- Texts with a label that are no tickets. proves: 1 where it judges versions, and no version learns it. status: held, or
-- how its text was erased; its identity is a hash then. And the runs that gave each one that is held.
create table labelled_texts (
    text_id text primary key, question text not null, identity text not null, source text not null,
    proves integer not null, text text, label text, customer_id text, written_at text, stored_at text not null,
    status text not null default 'held' check (status in ('held', 'forgotten', 'withdrawn')),
    unique (question, identity)
);

create index labelled_texts_of on labelled_texts (customer_id) where customer_id is not null;

create table labelled_by (
    run_id text not null, text_id text not null, primary key (run_id, text_id)
) without rowid;

create index labelled_by_runs on labelled_by (text_id);

-- Numbers of the words of tickets, by which similar ones are found; filled in by whoever looks for some.
create table ticket_words (
    ticket_id text primary key, words blob not null
) without rowid;

-- What docs/reference/records.md promises to whoever reads the database with tools of their own. After the last step of a
-- migration they are made anew, so a step need not know them; a new column is the last one. A cast says the type of a
-- column that is not stored. `migrations.py` of PostgreSQL has what it says otherwise. DuckDB reads their text itself, and
-- takes no bare `at`.
create view tickets_v as select t.ticket_id, t.external_id, t.source, t.subject, t.description, t.customer_id, t.priority,
    t.created_at, t.status, t.category, t.suggestion, t.confidence, t.confidence_source, t.classifier, t.reason, t.verdict,
    t.routed_to, t.cost_usd, t.error, t.extra, t.language, t.stored_at, c.at as decided_at
    from tickets t left join classifications c on c.classification_id = t.decision_id and t.category is not null
    where t.status <> 'withdrawn';

create view answers_v as select c.classification_id as answer_id, c.ticket_id, c.question, c.category as value,
    c.confidence, c.confidence_source, c.classifier, c.step, c.reason, c.threshold,
    cast(case when c.question = 'category' then case when t.decision_id = c.classification_id then t.category end
        when json_extract(t.answers, '$."' || c.question || '".decision_id') = c.classification_id
            then json_extract(t.answers, '$."' || c.question || '".value')
        end as text) as held,
    cast(case when c.confidence_source = 'human' then 1 else 0 end as integer) as verdict,
    c.actor, c.run_id, c.at as answered_at, c.input_tokens, c.output_tokens, c.cost as cost_usd, c.error
    from classifications c join tickets t on t.ticket_id = c.ticket_id;

create view verdicts_v as select classification_id as verdict_id, ticket_id, question, category as value, reason as note,
    actor, run_id, c.at as given_at from classifications c where confidence_source = 'human';

create view deliveries_v as select delivery_id, ticket_id, classification_id as answer_id, category, destination, rule,
    state, attempts, last_status, last_error, doubtful, replaces, run_id, d.at as decided_at, done_at
    from deliveries d;

create view events_v as select seq, timestamp, action, ticket_id, actor, run_id, detail from events;

insert into chain values (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', null);
