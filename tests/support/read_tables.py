"""Reads tables that tests make, in the ways that the command line reads them."""

import io
from typing import Any

from triage_cli import domain as dm
from triage_cli.readers import ReadOptions, Table, open_table

MB = 1 << 20


def opened(data: bytes | str, name: str = "tickets.csv", **options: Any) -> Table:
    raw = data.encode() if isinstance(data, str) else data
    return open_table(io.BytesIO(raw), name, ReadOptions(**options))


def read(data: bytes | str, name: str = "tickets.csv", **options: Any) -> list[dm.TicketDraft | dm.Rejected]:
    return list(opened(data, name, **options).rows)


def texts(rows: list[dm.TicketDraft | dm.Rejected]) -> list[tuple[str | None, str | None]]:
    return [(row.subject, row.description) for row in rows if isinstance(row, dm.TicketDraft)]


def reasons(rows: list[dm.TicketDraft | dm.Rejected]) -> list[str]:
    return [row.error.message for row in rows if isinstance(row, dm.Rejected)]


class Pipe(io.RawIOBase):
    """A pipe that never ends, and counts what was taken from it."""

    def __init__(self, start: bytes, forever: bytes) -> None:
        self.rest = start
        self.forever = forever
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= MB, "only a bounded amount may be asked for"
        while len(self.rest) < size:
            self.rest += self.forever * 1000
        piece, self.rest = self.rest[:size], self.rest[size:]
        self.given += len(piece)
        return piece
