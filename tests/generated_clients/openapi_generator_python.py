"""The article's steps by the client that OpenAPI Generator generates for Python. Arguments: address and key."""

import json
import sys

import openapi_client
from openapi_client import BulkApi, ReadsApi, TicketIn, TicketsApi

configuration = openapi_client.Configuration(host=sys.argv[1], api_key={"ApiKey": sys.argv[2]})
with openapi_client.ApiClient(configuration) as client:
    tickets, reads, bulk = TicketsApi(client), ReadsApi(client), BulkApi(client)
    made = tickets.create(TicketIn(subject="Refund?", description="I was charged twice"))
    answer = tickets.classify(made.ticket_id)
    sent = tickets.route(made.ticket_id)
    events = reads.ticket_logs(made.ticket_id)
    try:
        tickets.classify("nobody-1")
    except openapi_client.exceptions.NotFoundException as error:
        unknown = json.loads(error.body)["code"]
    assert reads.list_tickets(search="no such text") == []
    lines = bulk.batch(b"subject\nCrash\nInvoice\n", do="classify,route", _content_type="text/csv")
    assert bulk.classify_many()
    print(
        json.dumps(
            {
                "ticket": made.ticket_id,
                "classification": answer.classification,
                "routed": sent.status,
                "actions": [event.action for event in events],
                "unknown": unknown,
                "lines": len(bytes(lines).splitlines()),
            }
        )
    )
