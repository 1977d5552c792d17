"""Where tickets, answers, deliveries and the audit log are kept."""
