"""Reading support tickets from messy tables: any encoding, CSV, TSV, JSON or JSON Lines, any helpdesk's headers."""

from triage_cli.reading.opening import ReadOptions, Table, open_table

__all__ = ["ReadOptions", "Table", "open_table"]
