"""Commands of operations: configuration, database, server, API keys, doctor, checks, audit."""
