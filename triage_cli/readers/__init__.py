"""Reading support tickets: tables in any encoding (CSV, TSV, JSON, JSON Lines, any helpdesk's headers), or mail."""
