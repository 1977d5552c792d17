"""Where tickets are pulled from: lists over HTTP, and programs that write Singer lines."""
