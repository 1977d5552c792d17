"""Commands around it: configuration, server, database, audit."""
