"""Which role a request takes: what the middleware enforces, and the description tells."""

from triage_cli.api.docs_page import FILES as DOCS_FILES

# All other paths require a key, so that no new route is open by mistake. Webhooks are signed instead.
OPEN = ("/health", "/ready", "/openapi.json", "/docs", *DOCS_FILES)
SIGNED = "/webhooks/"
ADMIN = ("/keys", "/forget", "/runs", "/audit/verify")
METRICS = "/metrics"


def is_open(path: str) -> bool:
    """Return whether a path is served to callers without a key."""
    return path in OPEN or path.startswith(SIGNED)


def required_role(method: str, path: str) -> str:
    """Return the least role that may send a request which is not open."""
    if any(path == at or path.startswith(f"{at}/") for at in ADMIN):
        return "admin"
    if path == METRICS:
        return "metrics"
    return "reader" if method in ("GET", "HEAD", "OPTIONS") else "agent"
