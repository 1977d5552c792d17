"""How a hint names what to do next: by commands to our command line, by requests to every other caller of the API."""

import re
from collections.abc import Mapping
from contextvars import ContextVar

# Whether the caller of the present request is our command line, which prints hints as they are.
is_for_command_line: ContextVar[bool] = ContextVar("is_for_command_line", default=False)
# What has no request of its own stays a command: it is for whoever runs the server.
REQUESTS: Mapping[str, str] = {
    r"triage list --status (\w+)": r"GET /tickets?status=\1",
    r"triage list shows": "GET /tickets shows",
    r"triage why": "GET /tickets/{ticket_id}/why",
    r"triage review": "POST /tickets/{ticket_id}/verdict",
    r"triage classify it": "POST /tickets/{ticket_id}/classify",
    r"triage route --retry-dead": 'POST /route with {"plan": {"retry_dead": true}}',
    r"triage route(?! on)": "POST /route",
    r"triage keys list": "GET /keys",
    r"give --source NAME": "send them with ?source=NAME",
    r"--same-tickets": "with ?same_tickets=true",
    r"run the same command again": "send the same request again",
}


def spoken(hint: str) -> str:
    """Return a hint for the caller of the present request."""
    if is_for_command_line.get():
        return hint
    for command, request in REQUESTS.items():
        hint = re.sub(command, request, hint)
    return hint
