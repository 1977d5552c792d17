"""The thread that sends the deliveries of concurrent callers."""

import queue
import threading

from tests.support.commands import PATIENCE
from tests.support.webhook_receiver import outgoing
from triage_cli.service.concurrent_callers.dispatch_thread import DispatchResult, DispatchThread
from triage_cli.service.delivery.dispatcher import Dispatcher


def test_an_error_with_the_last_delivery_comes_to_its_caller_and_the_thread_ends() -> None:
    begun, go = threading.Event(), threading.Event()

    def off() -> frozenset[str]:
        begun.set()
        assert go.wait(PATIENCE)
        return frozenset()

    def none() -> Dispatcher:
        raise TypeError("no dispatcher")

    group = DispatchThread(none, off, lambda: None)
    ended = queue.SimpleQueue[DispatchResult | Exception]()
    group.send([outgoing(1)], ended.put)
    assert begun.wait(PATIENCE)
    group.send([outgoing(2)], ended.put)
    closing = threading.Thread(target=group.close, daemon=True)
    closing.start()
    while group._thread.queue.qsize() < 2:
        assert closing.is_alive()
    go.set()
    closing.join(30)
    assert not closing.is_alive()
    assert [type(ended.get(timeout=1)) for _ in range(2)] == [TypeError, TypeError]
