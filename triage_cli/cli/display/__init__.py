"""Records for people: tables and lines on a terminal, HTML reports."""
