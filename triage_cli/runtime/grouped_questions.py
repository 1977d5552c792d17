"""Questions of one event loop, answered in groups."""

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
        self._unanswered: list[tuple[A, asyncio.Future[bool]]] = []
        self._answer_task: asyncio.Task[None] | None = None

    async def ask(self, question: A) -> bool:
        """Return the answer to a question of a group. Raises what `answer` raises."""
        future_answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._unanswered.append((question, future_answer))
        if self._answer_task is None or self._answer_task.done():
            self._answer_task = asyncio.create_task(self._answer_all())
        return await future_answer

    async def _answer_all(self) -> None:
        while self._unanswered:
            group, self._unanswered = self._unanswered, []
            try:
                answers = await asyncio.to_thread(self._answer, [question for question, _ in group])
                for (question, future_answer), answer in zip(group, answers, strict=True):
                    if not future_answer.done():
                        future_answer.set_result(answer)
                    elif answer:
                        self._undo(question)
            except Exception as error:  # noqa: BLE001 - raised by all questions that have no answer
                for _, future_answer in group:
                    if not future_answer.done():
                        future_answer.set_exception(error)
