"""Where tickets are sent: files and commands."""
