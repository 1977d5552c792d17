"""The article's steps by the client that openapi-python-client generates. Arguments: the server's address, a key."""

import json
import sys
from io import BytesIO

from triage_client import AuthenticatedClient
from triage_client.api.bulk import batch, classify_many
from triage_client.api.reads import list_tickets, ticket_logs
from triage_client.api.tickets import classify, create, route
from triage_client.models import BatchDo, Classified, Created, Problem, Routed, TicketIn
from triage_client.types import File

with AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2]) as client:
    made = create.sync(client=client, body=TicketIn(subject="Refund?", description="I was charged twice"))
    assert isinstance(made, Created), made
    answer = classify.sync(made.ticket_id, client=client)
    assert isinstance(answer, Classified), answer
    sent = route.sync(made.ticket_id, client=client)
    assert isinstance(sent, Routed), sent
    events = ticket_logs.sync(made.ticket_id, client=client)
    assert isinstance(events, list), events
    none = classify.sync("nobody-1", client=client)
    assert isinstance(none, Problem), none
    assert list_tickets.sync(client=client, search="no such text") == []
    lines = batch.sync(
        client=client, body=File(payload=BytesIO(b"subject\nCrash\nInvoice\n")), do=BatchDo.CLASSIFYROUTE
    )
    assert isinstance(lines, File), lines
    assert isinstance(classify_many.sync(client=client), File)
    print(
        json.dumps(
            {
                "ticket": made.ticket_id,
                "classification": answer.classification,
                "routed": sent.status,
                "actions": [event.action for event in events],
                "unknown": none.code,
                "lines": len(lines.payload.read().splitlines()),
            }
        )
    )
