"""Commands that print views of what is stored: tickets, reasons, logs, runs, statistics."""
