"""Reading support tickets: tables in any encoding (CSV, TSV, JSON, JSON Lines, any helpdesk's headers), or mail."""

from triage_cli.readers.column_mapping import UnknownColumnError, compact, id_column
from triage_cli.readers.csv_reader import csv_rows
from triage_cli.readers.json_reader import json_values
from triage_cli.readers.mail_files import MailFolder
from triage_cli.readers.mail_message import rewritten_mail
from triage_cli.readers.sniff import text_lines
from triage_cli.readers.table import ReadOptions, Table
from triage_cli.readers.table_reader import open_table

__all__ = [
    "MailFolder", "ReadOptions", "Table", "UnknownColumnError", "compact", "csv_rows", "id_column", "json_values",
    "open_table", "rewritten_mail", "text_lines",
]  # fmt: skip
