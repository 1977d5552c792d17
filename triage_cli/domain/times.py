"""Times as ISO 8601 and as seconds since 1970."""

from datetime import UTC, datetime


def to_seconds(moment: str) -> float:
    """Return a time of ISO 8601 as seconds since 1970; without a zone it is UTC. Raises `ValueError`."""
    parsed_time = datetime.fromisoformat(moment)
    return (parsed_time if parsed_time.tzinfo else parsed_time.replace(tzinfo=UTC)).timestamp()


def readable(moment: str) -> str:
    """Return a time of ISO 8601 in UTC to the second, as sentences have it."""
    return f"{moment[:19].replace('T', ' ')}Z"


def whole_second(moment: datetime) -> str:
    """Return a moment in UTC as ISO 8601 with Z, without a fraction of a second."""
    return moment.replace(tzinfo=None, microsecond=0).isoformat() + "Z"
