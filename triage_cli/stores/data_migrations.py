"""What migrations of both dialects do to rows that are there: the same SQL runs on either."""

# To version 3: when runs spent is kept to the minute. What was on the books before counts as spent when its run ended,
# or else began. Without a lease nothing tells when a killed run was last heard of, and with it for how long its calls
# count.
BOOK_OLD_RUNS = """insert into bookings select substr(coalesce(ended_at, started_at), 1, 16), run_id,
        spent + case when lease_until = 0 then reserved else 0 end from runs where spent + reserved <> 0"""

# To version 3: a ticket that came back to a category used to count as delivered there. It is routed once more: the
# destination that its last decision names was told by another one's delivery, which nothing has replaced, that it left.
ROUTE_RETURNED_TICKETS = """update tickets set status = 'classified', revision = revision + 1
        where status = 'routed' and content_hash <> '' and exists (
            select 1 from deliveries here join deliveries away on away.replaces = here.delivery_id
            where here.ticket_id = tickets.ticket_id and here.category = tickets.category
                and ', ' || tickets.routed_to || ', ' like '%, ' || here.destination || ', %'
                and ', ' || tickets.routed_to || ', ' not like '%, ' || away.destination || ', %'
                and here.state = 'accepted' and away.state = 'accepted' and away.category <> here.category
                and not exists (select 1 from deliveries back where back.replaces = away.delivery_id))"""

# To version 3, after all else: a forgotten ticket was `routed` before, wherever it had been.
MARK_FORGOTTEN = """update tickets set status = 'forgotten'
    where identity >= '!' and identity < '"' and external_id is null
    and exists (select 1 from events where events.ticket_id = tickets.ticket_id and action = 'forgotten')"""
