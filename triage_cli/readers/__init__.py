"""Reading support tickets from messy tables: any encoding, CSV, TSV, JSON or JSON Lines, any helpdesk's headers."""

from triage_cli.readers.csv_reader import csv_rows
from triage_cli.readers.json_reader import json_values
from triage_cli.readers.table_reader import ReadOptions, Table, open_table

__all__ = ["ReadOptions", "Table", "csv_rows", "json_values", "open_table"]
