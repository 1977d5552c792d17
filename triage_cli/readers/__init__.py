"""Reading support tickets: tables in any encoding (CSV, TSV, JSON, JSON Lines, any helpdesk's headers), or mail."""

from triage_cli.faces import face

__getattr__ = face(__name__)
