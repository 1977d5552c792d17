"""How records look on a terminal and in reports: tables, events as lines, HTML."""
