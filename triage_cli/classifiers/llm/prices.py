"""What requests cost: as billed, as expected, and at worst, which is what is set aside before one is made."""

from triage_cli.classifiers.llm.provider import Reply, Usage
from triage_cli.config import Price

ORDINARY = 64  # tokens of an answer in the form that is asked for


class Cost:
    """What one ticket has cost so far, over all its requests."""

    def __init__(self, price: Price | None) -> None:
        self._price = price or Price()
        self.usage = Usage()
        self.cost = 0.0

    def price_of(self, usage: Usage) -> float:
        """Return what this many tokens cost."""
        price = self._price
        read = price.input if price.cache_read is None else price.cache_read
        write = price.input if price.cache_write is None else price.cache_write
        plain = max(0, usage.input - usage.cache_read - usage.cache_write)
        cents = plain * price.input + usage.output * price.output + usage.cache_read * read + usage.cache_write * write
        return cents / 1_000_000

    def add(self, usage: Usage) -> float:
        """Put one request on the bill and return its cost."""
        cost = self.price_of(usage)
        self.usage = self.usage.plus(usage)
        self.cost += cost
        return cost


def worst_of(size: int, output: int, price: Price | None) -> Usage:
    """Return the dearest usage of a request of at most so many tokens and its answer."""
    return max(Usage(size, output), Usage(size, output, cache_write=size), key=Cost(price).price_of)


def expected(worst: Usage) -> Usage:
    """Return the tokens that a request will likely take: three bytes each, and those of an ordinary answer."""
    return Usage(worst.input // 3, min(worst.output, ORDINARY))


def used(reply: Reply, worst: Usage) -> Usage:
    """Return the tokens of an answer as its server counts them; one that does not may bill the worst."""
    unread = reply.text is None and reply.problem == "not_json"
    return reply.usage or (worst if unread else worst._replace(output=min(worst.output, _bytes(reply.text or ""))))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def half(price: Price | None) -> Price | None:
    """Return what the requests of a batch cost: half."""
    return None if price is None else Price(*(None if usd is None else usd / 2 for usd in price))  # type: ignore[arg-type]
