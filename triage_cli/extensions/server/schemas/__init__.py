"""The bodies of requests and responses, and the parameters of queries, by subject."""
