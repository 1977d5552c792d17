"""One session of `triage review`: verdicts, skips and undo."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from triage_cli.cli import messages
from triage_cli.cli.review.key_bindings import LEARN
from triage_cli.domain.errors import RowError, TriageError
from triage_cli.domain.ids import short
from triage_cli.domain.insight.stats import StatsQuery
from triage_cli.domain.tickets import Selection, Ticket, VerdictDraft
from triage_cli.ports.triage import Triage
from triage_cli.service.learning.training_run import EVERY


class Step(NamedTuple):
    """A step: the ticket before it, the given category, or None for a skip, and the ticket with that category."""

    ticket: Ticket
    category: str | None
    decided: Ticket


class ReviewSession:
    """Gives verdicts, each stored before the call returns, and remembers them for undo.

    `learn` lets the embedded model learn from all verdicts, and returns a summary; it is None on a remote.
    """

    def __init__(self, triage: Triage, names: Sequence[str], learn: Callable[[], str] | None = None) -> None:
        self.triage = triage
        self.names = tuple(names)
        self.steps: list[Step] = []
        self._learn = learn
        self._learned = 0  # the number of verdicts when it last learned

    @property
    def verdicts_given(self) -> int:
        """Return the number of verdicts that were not undone."""
        return sum(step.category is not None for step in self.steps)

    @property
    def skipped(self) -> int:
        """Return the number of skipped tickets."""
        return len(self.steps) - self.verdicts_given

    def summary(self) -> str:
        """Return a summary, with the number of tickets that still need a person if it can be read."""
        done = f"{messages.plural(self.verdicts_given, 'verdicts given')}, {self.skipped:,} skipped"
        try:
            waiting = self.triage.stats_by(StatsQuery(Selection(statuses=frozenset({"needs_review"}))))
        except TriageError:
            return done
        return f"{done}, {sum(group.tickets for group in waiting):,} left"

    def guess(self, ticket: Ticket) -> str | None:
        """Return the category that a machine decided or guessed; None if there is none, or it no longer exists."""
        guess = ticket.suggestion or ticket.category
        return guess if guess in self.names and not ticket.verdict else None

    def give(self, ticket: Ticket, category: str, note: str | None = None) -> Ticket:
        """Store a verdict and return the changed ticket.

        Raises `TriageError` if it cannot be given, also if another person has decided since the ticket was read, or
        its text has changed.
        """
        try:
            decided = self._stored(VerdictDraft(0, ticket.ticket_id, category, note, ticket.shown_hash))
        except RowError as refused:
            now = self.read_again(ticket)
            if now.status == "forgotten" or now.shown_hash == ticket.shown_hash:
                raise
            raise _since_shown(ticket, now) from refused
        self.steps.append(Step(ticket, category, decided))
        return decided

    def read_again(self, ticket: Ticket) -> Ticket:
        """Return the ticket as it is stored now. Raises `TriageError`."""
        return next(iter(self.triage.find(Selection(ids=(ticket.ticket_id,)))), ticket)

    @property
    def offer(self) -> str:
        """Return the offer to learn, if there are enough verdicts since the last time; else an empty text."""
        number = self.verdicts_given - self._learned
        return f"{number} new verdicts: {LEARN} learns from them" if self._learn and number >= EVERY else ""

    def learn(self) -> str:
        """Learn from the verdicts, which changes the order of the queue; return a summary. Raises `TriageError`."""
        if self._learn is None:
            raise RowError("learning works on a database here only", hint="run triage learn on the remote's machine")
        self._learned = self.verdicts_given
        return self._learn()

    def skip(self, ticket: Ticket) -> None:
        """Leave a ticket for later."""
        self.steps.append(Step(ticket, None, ticket))

    def can_undo(self) -> bool:
        """Return whether the last step can be undone; a removed category cannot be given again."""
        return bool(self.steps) and self._gone(self.steps[-1]) is None

    def undo(self) -> Step:
        """Undo the last step, and return it with the ticket as it is now: an earlier verdict holds again.

        Raises `TriageError` if there is no step, or the earlier verdict is no category now; then the step stays. If
        another person has decided since, that is raised and stays, and the step is dropped.
        """
        if not self.steps:
            raise RowError("nothing to undo")
        step = self.steps[-1]
        if gone := self._gone(step):
            raise RowError(f"{gone} is no category now, so that it cannot be given again")
        ticket = step.ticket
        if step.category is not None:
            now = self._check_holds(step)
            category, note = (ticket.category, ticket.reason or "") if ticket.verdict else (None, None)
            ticket = self._stored(VerdictDraft(0, ticket.ticket_id, category, note, now.shown_hash))
        return self.steps.pop()._replace(ticket=ticket)

    def _check_holds(self, step: Step) -> Ticket:
        """Return the ticket as it is now. Raises `RowError`, and drops the step, if its verdict is another's."""
        now, given = self.read_again(step.decided), step.decided
        if (now.verdict, now.category, now.reason) == (given.verdict, given.category, given.reason):
            return now
        self.steps.pop()
        changed = f"decided since: {now.category}; that stays" if now.verdict else "taken the verdict back"
        raise RowError(f"{now.external_id or short(now.ticket_id)}: another person has {changed}")

    def _gone(self, step: Step) -> str | None:
        """Return the category that a verdict replaced, if it no longer exists."""
        before = step.ticket.category if step.category and step.ticket.verdict else None
        return None if before in self.names else before

    def _stored(self, draft: VerdictDraft) -> Ticket:
        for outcome in self.triage.give_verdicts([draft]):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                return outcome.value
        raise TriageError("the verdict was not stored", hint="try again")


def _since_shown(ticket: Ticket, now: Ticket) -> RowError:
    """Return the error that says what has changed of a ticket since it was shown."""
    if (now.subject, now.description) != (ticket.subject, ticket.description):
        return RowError("its text has changed", hint="read it again, then give the category again")
    done = f"decided: {now.category}" if now.verdict else "taken the verdict back"
    return RowError(f"another person has {done}", hint="give it again to overrule that")
