"""Questions of concurrent tasks of an event loop, answered in groups."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

A = TypeVar("A")


class GroupedQuestions(Generic[A]):
    """Questions of one event loop: those that come while others are answered are answered together, in a thread.

    `answer` returns a truth for each question. `undo` gets a question with a true answer that its caller, which was
    cancelled meanwhile, does not see.
    """

    def __init__(self, answer: Callable[[list[A]], list[bool]], undo: Callable[[A], None] = lambda _: None) -> None:
        self._answer = answer
        self._undo = undo
        self._waiting: list[tuple[A, asyncio.Future[bool]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, question: A) -> bool:
        """Return the answer. Raises what `answer` raises."""
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answered))
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer_waiting())
        return await answered

    async def _answer_waiting(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                answers = await asyncio.to_thread(self._answer, [question for question, _ in waiting])
            except Exception as error:  # noqa: BLE001 - raised by all questions
                for _, answered in waiting:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            for (question, answered), answer in zip(waiting, answers, strict=True):
                if not answered.done():
                    answered.set_result(answer)
                elif answer:
                    self._undo(question)
