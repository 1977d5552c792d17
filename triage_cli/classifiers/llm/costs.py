"""Costs of requests to a language model: of their real usage, of the worst case, and of the likely one."""

from triage_cli.classifiers.llm.provider import Reply, Usage
from triage_cli.config import Price

LIKELY_ANSWER_TOKENS = 64


class Cost:
    """The cost of one ticket in USD, summed over its requests."""

    def __init__(self, price: Price | None) -> None:
        self._price = price or Price()
        self.usage = Usage()
        self.cost = 0.0

    def price_of(self, usage: Usage) -> float:
        """Return the cost of a usage, in USD; prices are per million tokens."""
        price = self._price
        read_price = price.input if price.cache_read is None else price.cache_read
        write_price = price.input if price.cache_write is None else price.cache_write
        uncached_input = max(0, usage.input - usage.cache_read - usage.cache_write)
        millionths = (
            uncached_input * price.input
            + usage.output * price.output
            + usage.cache_read * read_price
            + usage.cache_write * write_price
        )
        return millionths / 1_000_000

    def add(self, usage: Usage) -> float:
        """Add the cost of one request, and return it, in USD."""
        cost = self.price_of(usage)
        self.usage = self.usage.plus(usage)
        self.cost += cost
        return cost


def likely_usage(worst_usage: Usage) -> Usage:
    """Return the usage by which a request's likely cost is estimated: three bytes per token, and a short answer."""
    return Usage(worst_usage.input // 3, min(worst_usage.output, LIKELY_ANSWER_TOKENS))


def charged_usage(reply: Reply, worst_usage: Usage) -> Usage:
    """Return the usage that a reply costs: what its server reports, else the worst case that fits the answer."""
    if reply.usage is not None:
        return reply.usage
    if reply.text is None and reply.problem == "not_json":  # it cannot be read, so it may be of any length
        return worst_usage
    answer_bytes = len((reply.text or "").encode("utf-8", "replace"))
    return worst_usage._replace(output=min(worst_usage.output, answer_bytes))


def half_price(price: Price | None) -> Price | None:
    """Return the price of a request in a batch, which is half."""
    return None if price is None else Price(*(None if usd is None else usd / 2 for usd in price))  # type: ignore[arg-type]
