"""What requests cost: their real usage, the worst case and the likely one."""

from triage_cli.classifiers.llm.provider import Reply, Usage
from triage_cli.config import Price

ORDINARY = 64  # tokens of an ordinary answer


class Cost:
    """The cost of one ticket, summed over its requests."""

    def __init__(self, price: Price | None) -> None:
        self._price = price or Price()
        self.usage = Usage()
        self.cost = 0.0

    def price_of(self, usage: Usage) -> float:
        """Return the price of a usage, in USD."""
        price = self._price
        read = price.input if price.cache_read is None else price.cache_read
        write = price.input if price.cache_write is None else price.cache_write
        plain = max(0, usage.input - usage.cache_read - usage.cache_write)
        millionths = (
            plain * price.input + usage.output * price.output + usage.cache_read * read + usage.cache_write * write
        )
        return millionths / 1_000_000

    def add(self, usage: Usage) -> float:
        """Add one request, and return its cost in USD."""
        cost = self.price_of(usage)
        self.usage = self.usage.plus(usage)
        self.cost += cost
        return cost


def worst_of(size: int, output: int, price: Price | None) -> Usage:
    """Return the most expensive usage of a request with at most `size` input and `output` output tokens."""
    return max(Usage(size, output), Usage(size, output, cache_write=size), key=Cost(price).price_of)


def expected(worst: Usage) -> Usage:
    """Return the likely usage of a request: three bytes per token, and an ordinary answer."""
    return Usage(worst.input // 3, min(worst.output, ORDINARY))


def used(reply: Reply, worst: Usage) -> Usage:
    """Return the usage that the server reports; if it reports none, the worst case that fits the answer."""
    unread = reply.text is None and reply.problem == "not_json"
    return reply.usage or (worst if unread else worst._replace(output=min(worst.output, _bytes(reply.text or ""))))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def half(price: Price | None) -> Price | None:
    """Return the price of batch requests, which is half."""
    return None if price is None else Price(*(None if usd is None else usd / 2 for usd in price))  # type: ignore[arg-type]
