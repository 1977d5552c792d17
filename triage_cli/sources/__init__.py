"""Where tickets are pulled from: lists over HTTP, programs that write Singer lines, and mailboxes."""
