"""The id of the request that is being served, so that its events and deliveries can name it."""

from contextvars import ContextVar

# Empty outside of a server. Threads that the server starts for a request inherit it.
request_id: ContextVar[str] = ContextVar("request_id", default="")
