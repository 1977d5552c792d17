"""What a mail is made of that matters to a ticket, and threads of mails."""
