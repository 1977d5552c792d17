"""Reading support tickets from messy tables: any encoding, CSV, TSV, JSON or JSON Lines, any helpdesk's headers."""

from triage_cli.reading.jsons import json_values
from triage_cli.reading.opening import ReadOptions, Table, open_table
from triage_cli.reading.tables import csv_rows

__all__ = ["ReadOptions", "Table", "csv_rows", "json_values", "open_table"]
