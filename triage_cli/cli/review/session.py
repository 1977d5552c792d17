"""One sitting of `triage review`: verdicts, skips, and how they are taken back."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from triage_cli.cli import messages
from triage_cli.cli.review.key_bindings import LEARN
from triage_cli.domain.errors import RowError, TriageError
from triage_cli.domain.tickets import Selection, Ticket, VerdictDraft
from triage_cli.domain.views import StatsQuery
from triage_cli.ports.triage import Triage
from triage_cli.service.learning.train import EVERY


class Step(NamedTuple):
    """What was done with a ticket: the ticket before, and a category, or None where it was skipped."""

    ticket: Ticket
    category: str | None


class ReviewSession:
    """Gives verdicts, each stored before the call returns, and remembers them, so that they can be undone.

    `learn` has the embedded model learn from all verdicts, and returns what came of it; None on a remote.
    """

    def __init__(self, triage: Triage, names: Sequence[str], learn: Callable[[], str] | None = None) -> None:
        self.triage = triage
        self.names = tuple(names)
        self.steps: list[Step] = []
        self._learn = learn
        self._learned = 0  # verdicts that had been given when it last learned

    @property
    def given(self) -> int:
        """Return how many verdicts stand."""
        return sum(step.category is not None for step in self.steps)

    @property
    def skipped(self) -> int:
        """Return how many tickets were skipped."""
        return len(self.steps) - self.given

    def summary(self) -> str:
        """Return what was done in a line, and how many tickets need a person still, where that can be found out."""
        done = f"{messages.plural(self.given, 'verdicts given')}, {self.skipped:,} skipped"
        try:
            waiting = self.triage.stats_by(StatsQuery(Selection(statuses=frozenset({"needs_review"}))))
        except TriageError:
            return done
        return f"{done}, {sum(group.tickets for group in waiting):,} left"

    def guess(self, ticket: Ticket) -> str | None:
        """Return the category that a machine gives or guesses, None where there is none that exists now."""
        guess = ticket.suggestion or ticket.category
        return guess if guess in self.names and not ticket.verdict else None

    def give(self, ticket: Ticket, category: str, note: str | None = None) -> Ticket:
        """Store a verdict and return the ticket as it is then.

        Raises `TriageError` where it cannot be given, also where another person has decided since the ticket was read.
        """
        for now in self.triage.find(Selection(ids=(ticket.ticket_id,))):
            if now.verdict and (now.verdict, now.category) != (ticket.verdict, ticket.category):
                raise RowError(f"another person has decided: {now.category}", hint="give it again to overrule that")
        decided = self._stored(VerdictDraft(0, ticket.ticket_id, category, note))
        self.steps.append(Step(ticket, category))
        return decided

    @property
    def offer(self) -> str:
        """Return the offer to learn, where enough verdicts were given since the last time; else nothing."""
        number = self.given - self._learned
        return f"{number} new verdicts: {LEARN} learns from them" if self._learn and number >= EVERY else ""

    def learn(self) -> str:
        """Learn from the verdicts, after which tickets wait in another order; return what came of it.

        Raises `TriageError`.
        """
        if self._learn is None:
            raise RowError("learning works on a database here only", hint="run triage learn on the remote's machine")
        self._learned = self.given
        return self._learn()

    def skip(self, ticket: Ticket) -> None:
        """Leave a ticket for later."""
        self.steps.append(Step(ticket, None))

    def can_undo(self) -> bool:
        """Return whether the last step can be taken back; a category that is gone cannot be given again."""
        return bool(self.steps) and self._gone(self.steps[-1]) is None

    def undo(self) -> Step:
        """Take the last step back, and return it: a verdict that was there before holds again.

        Raises `TriageError` where there is no step, or the verdict before is no category now; then the step stays.
        """
        if not self.steps:
            raise RowError("nothing to undo")
        step = self.steps[-1]
        if gone := self._gone(step):
            raise RowError(f"{gone} is no category now, so that it cannot be given again")
        ticket = step.ticket
        if step.category is not None:
            before = (ticket.category, ticket.reason) if ticket.verdict else (None, None)
            self._stored(VerdictDraft(0, ticket.ticket_id, *before))
        return self.steps.pop()

    def _gone(self, step: Step) -> str | None:
        """Return the category that a verdict has replaced, where it does not exist any more."""
        before = step.ticket.category if step.category and step.ticket.verdict else None
        return None if before in self.names else before

    def _stored(self, draft: VerdictDraft) -> Ticket:
        for outcome in self.triage.give_verdicts([draft]):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                return outcome.value
        raise TriageError("the verdict was not stored", hint="try again")
