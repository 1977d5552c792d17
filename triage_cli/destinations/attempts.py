"""Makes attempts at deliveries concurrently; each ends as an outcome."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from triage_cli.domain import DeliveryError, Outcome, OutgoingDelivery, Receipt
from triage_cli.runtime import bridge


def attempted(
    chunks: Iterable[Sequence[OutgoingDelivery]],
    attempt: Callable[[OutgoingDelivery], Awaitable[Outcome[Receipt]]],
    workers: int,
    unexpected: Callable[[Exception], DeliveryError],
) -> Iterator[Sequence[Outcome[Receipt]]]:
    """Make so many attempts at once; yield outcomes as they arrive, without blocking the caller.

    `unexpected` returns the error of a delivery whose attempt raised.
    """
    for arrived in bridge().map(chunks, attempt, workers=workers, stopping=lambda: False, tick=0.0):
        yield [
            result if isinstance(result, Outcome) else Outcome.failed(outgoing, unexpected(result))
            for outgoing, result in arrived
        ]
