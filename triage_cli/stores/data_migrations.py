"""Migrations of existing rows, in SQL that runs on both dialects."""

import json
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from zipfile import BadZipFile
from zlib import crc32

from triage_cli import domain as dm
from triage_cli.stores.database import Rows

# To version 3, which records spending by the minute. Earlier spending is booked when its run ended, or began if it
# never ended. What a killed run without a lease had reserved is booked too, since nothing tells how long to wait
# for its calls.
BOOK_OLD_RUNS = """insert into bookings select substr(coalesce(ended_at, started_at), 1, 16), run_id,
        spent + case when lease_until = 0 then reserved else 0 end from runs where spent + reserved <> 0"""

# To version 3: a ticket that returned to an earlier category used to count as delivered there, although another
# destination's delivery had meanwhile told this destination that the ticket left. Such tickets are routed again.
ROUTE_RETURNED_TICKETS = """update tickets set status = 'classified', revision = revision + 1
        where status = 'routed' and content_hash <> '' and exists (
            select 1 from deliveries here join deliveries away on away.replaces = here.delivery_id
            where here.ticket_id = tickets.ticket_id and here.category = tickets.category
                and ', ' || tickets.routed_to || ', ' like '%, ' || here.destination || ', %'
                and ', ' || tickets.routed_to || ', ' not like '%, ' || away.destination || ', %'
                and here.state = 'accepted' and away.state = 'accepted' and away.category <> here.category
                and not exists (select 1 from deliveries back where back.replaces = away.delivery_id))"""

# To version 3, last of all: forgotten tickets, which had the status `routed` before, get a status of their own.
MARK_FORGOTTEN = """update tickets set status = 'forgotten'
    where identity >= '!' and identity < '"' and external_id is null
    and exists (select 1 from events where events.ticket_id = tickets.ticket_id and action = 'forgotten')"""

# To version 11, which has columns for what only the wording said before: that a server began a run, and that a delivery
# would overwrite what a person had set.
MARK_SERVED_RUNS = "update runs set served = 1 where substr(words, 1, 6) = 'POST /' or words = 'serve'"
NAME_REFUSALS = """update deliveries set refusal = 'set_by_a_person'
    where state = 'dead' and last_error like '%which somebody has set and which stays%'"""

# To version 13, in which a delivery knows the text that it was sent with: earlier ones count as sent with the present
# one, so that what changes from now on is told.
KNOW_SENT_TEXTS = """update deliveries set content_hash =
    (select content_hash from tickets where tickets.ticket_id = deliveries.ticket_id)"""

# To version 9, and after changes of many rows at once: counts all rows for `stores.counts`.
COUNT_ALL = (
    "delete from ticket_counts",
    """insert into ticket_counts select status, coalesce(category, ''), coalesce(classifier, ''),
        substr(stored_at, 1, 10), count(*) from tickets group by 1, 2, 3, 4""",
    "delete from delivery_counts",
    "insert into delivery_counts select destination, state, count(*) from deliveries group by 1, 2",
    "delete from answer_counts",
    """insert into answer_counts select classifier, count(*), count(error), sum(cost) from classifications
        where reused is null and classifier <> 'verdict' and (classifier <> 'agent' or fingerprint <> '') group by 1""",
)

# To version 18, in which tickets follow verdicts on the same text.
TEXTS_WITH_VERDICT = """select ticket_id, subject, description, extra from tickets where verdict = 1
    and category is not null and status not in ('forgotten', 'withdrawn') and ticket_id > ?
    order by ticket_id limit 500"""
ADD_PRECEDENT = "insert into precedents (ticket_id, digest) values (?, ?)"


def fill_precedents(execute: Callable[..., Rows]) -> None:
    """Make precedents of the verdicts that a database has."""
    after = ""
    while rows := execute(TEXTS_WITH_VERDICT, (after,)).fetchall():
        for ticket_id, *texts in rows:
            if digest := dm.folded_digest(dm.text_of(*texts)):
                execute(ADD_PRECEDENT, (ticket_id, digest))
        after = rows[-1][0]


# To version 23, in which verdicts on further questions are precedents too. The new table is made before.
KEEP_PRECEDENTS = (
    """insert into precedents select before.ticket_id, 'category', before.digest, tickets.decision_id
        from precedents_before before join tickets on tickets.ticket_id = before.ticket_id
        where tickets.verdict = 1 and tickets.decision_id is not null""",
    """insert into changed_precedents select digest, 'category', mark from changed_before""",
    "drop table precedents_before",
    "drop table changed_before",
    "create index precedents_of on precedents (digest, question)",
)

# To version 26, in which the reason of an answer that follows a precedent names its ticket by its own id.
ANSWERS_OF_PRECEDENTS = """select classification_id, ticket_id, reused, question from classifications
    where confidence_source = 'precedent' and reason is not null and classification_id > ?
    order by classification_id limit 500"""
VERDICT = "select * from classifications where classification_id = ?"
NAME_PRECEDENT = "update classifications set reason = ? where classification_id = ?"
NAME_PRECEDENT_OF_CATEGORY = "update tickets set reason = ? where decision_id = ? and ticket_id = ?"


def name_precedents(execute: Callable[..., Rows]) -> None:
    """Name the tickets that answers follow by their own ids, where they had been named by their external ids."""
    after = ""
    while rows := execute(ANSWERS_OF_PRECEDENTS, (after,)).fetchall():
        for answer_id, ticket_id, verdict_id, question in rows:
            verdict = execute(VERDICT, (verdict_id,)).fetchone()
            reason = dm.precedent_reason(dm.Classification(*verdict)) if verdict else None
            execute(NAME_PRECEDENT, (reason, answer_id))
            execute(NAME_PRECEDENT_OF_CATEGORY, (reason, answer_id, ticket_id))
            (stored,) = execute("select answers from tickets where ticket_id = ?", (ticket_id,)).fetchone()
            answers = dm.from_json(stored)
            if answers.get(question, {}).get("decision_id") == answer_id:
                answers[question]["reason"] = reason
                execute("update tickets set answers = ? where ticket_id = ?", (dm.compact(answers), ticket_id))
        after = rows[-1][0]


# To version 26, in which learned models keep hashes of words, and whose they were is known: their tables and keys.
LEARNED_MODELS = (("versions", "version"), ("models", "fingerprint"))
TICKET_TEXTS = """select ticket_id, subject, description, extra from tickets where ticket_id > ?
    and (subject is not null or description is not null) order by ticket_id limit 500"""


def know_teachers(execute: Callable[..., Rows]) -> None:
    """Hash the words that learned models have kept, and note which tickets taught their labels to each version."""
    taught_texts: dict[int, set[int]] = {}
    for table, key in LEARNED_MODELS:
        for (row_key,) in execute(f"select {key} from {table} order by {key}").fetchall():
            ((weights,),) = execute(f"select weights from {table} where {key} = ?", (row_key,)).fetchall()
            hashed, texts = _with_hashed_words(bytes(weights or b""))
            execute(f"update {table} set weights = ? where {key} = ?", (hashed, row_key))
            if table == "versions" and texts:
                taught_texts[row_key] = texts
    after = ""
    while taught_texts and (rows := execute(TICKET_TEXTS, (after,)).fetchall()):
        for ticket_id, *texts in rows:
            number = int.from_bytes(sha256(dm.text_of(*texts).encode("utf-8", "surrogatepass")).digest()[:8])
            for version, numbers in taught_texts.items():
                if number in numbers:
                    execute("insert into learned_from values (?, ?, 1)", (version, ticket_id))
        after = rows[-1][0]


def _with_hashed_words(weights: bytes) -> tuple[bytes, set[int]]:
    """Return a model with hashes in the place of words, also within it, and those of the texts that taught it.

    One that cannot be read stays as it is.
    """
    import numpy as np  # few databases have a model to bring forward

    try:
        with np.load(BytesIO(weights), allow_pickle=False) as arrays:
            parts = dict(arrays)
        head = json.loads(parts["head"].tobytes())
    except (ValueError, KeyError, OSError, EOFError, BadZipFile):
        return weights, set()
    parts["words"] = np.array([crc32(word.encode("utf-8", "surrogatepass")) for word in head[3]], np.uint32)
    head[3] = []
    parts["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    if "multilingual" in parts:
        parts["multilingual"] = np.frombuffer(_with_hashed_words(parts["multilingual"].tobytes())[0], np.uint8)
    hashed = BytesIO()
    np.savez_compressed(hashed, **parts)
    return hashed.getvalue(), set(parts["seen"].tolist())


def fill_twenty_sixth(execute: Callable[..., Rows]) -> None:
    """Change the rows that version 26 has otherwise."""
    name_precedents(execute)
    know_teachers(execute)
