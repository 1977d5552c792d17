"""One review session: the verdicts and skips of a person, and their undo."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from triage_cli.cli import messages
from triage_cli.cli.review.key_bindings import ALIKE, LEARN
from triage_cli.domain import (
    FLAT,
    MOST_SIMILAR,
    NEARLY_SAME,
    Levels,
    RowError,
    Selection,
    SimilarQuery,
    SimilarTicket,
    StatsQuery,
    Ticket,
    TriageError,
    VerdictDraft,
    short,
)
from triage_cli.ports import Triage
from triage_cli.service import EVERY

SAME = 0.9999  # the similarity from which on two texts are the same


class ReviewStep(NamedTuple):
    """A step of a review session: the ticket before it, the given category (None: skipped), and the decided ticket.

    `alike` are the other tickets that the same step decided.
    """

    ticket: Ticket
    category: str | None
    decided: Ticket
    alike: tuple[Ticket, ...] = ()


class ReviewSession:
    """A review session: gives verdicts, each stored before the call returns, and remembers its steps for undo.

    `learn` lets the embedded model learn from all verdicts, and returns a summary; it is None on a remote. Where
    categories are in levels, a person is asked for the first level, and then, once it is `opened`, for what is below.
    """

    def __init__(
        self,
        triage: Triage,
        category_names: Sequence[str],
        learn: Callable[[], str] | None = None,
        levels: Levels = FLAT,
    ) -> None:
        self.triage = triage
        self.category_names = tuple(category_names)
        self.levels = levels
        self.opened: str | None = None
        self.steps: list[ReviewStep] = []
        self.alike: list[SimilarTicket] = []  # what waits with nearly the text of the ticket that was decided last
        self._learn = learn
        self._verdicts_when_learned = 0  # the number of verdicts given then

    @property
    def verdicts_given(self) -> int:
        """Return the number of verdicts of the session that were not undone."""
        return sum(1 + len(step.alike) for step in self.steps if step.category is not None)

    @property
    def skipped(self) -> int:
        """Return the number of tickets that were skipped in the session."""
        return sum(step.category is None for step in self.steps)

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the categories to choose from now: those of the first level, or an opened one and those below it."""
        below = (name for name in self.category_names if self.levels.parents.get(name) == self.opened)
        return tuple(below) if self.opened is None else (self.opened, *below)

    def open(self, category: str) -> bool:
        """Open a category that has others below it, and return whether it was; one that is open already is chosen."""
        if category == self.opened or category not in self.levels.parents.values():
            return False
        self.opened = category
        return True

    def likely_choice(self, ticket: Ticket) -> str | None:
        """Return which of the choices leads to the guess about a ticket."""
        path = [] if (guess := self.guess(ticket)) is None else [*self.levels.path(guess)]
        return next((name for name in path if name in self.choices), None)

    def summary(self) -> str:
        """Return a summary of the session, with the number of tickets that still need a person if it can be read."""
        session_counts = f"{messages.plural(self.verdicts_given, 'verdicts given')}, {self.skipped:,} skipped"
        try:
            waiting_counts = self.triage.stats_by(StatsQuery(Selection(statuses=frozenset({"needs_review"}))))
        except TriageError:
            return session_counts
        return f"{session_counts}, {sum(count.tickets for count in waiting_counts):,} left"

    def guess(self, ticket: Ticket) -> str | None:
        """Return the category that a machine decided or guessed; None if there is none, or it no longer exists."""
        guess = ticket.suggestion or ticket.category
        return guess if guess in self.category_names and not ticket.verdict else None

    def give(self, ticket: Ticket, category: str, note: str | None = None) -> Ticket:
        """Store a verdict and return the changed ticket.

        Raises `TriageError` if it cannot be given, also if another person has decided since the ticket was read, or
        its text has changed.
        """
        try:
            decided_ticket = self._store_verdict(VerdictDraft(0, ticket.ticket_id, category, note, ticket.shown_hash))
        except RowError as refused:
            ticket_now = self.read_again(ticket)
            if ticket_now.is_erased or ticket_now.shown_hash == ticket.shown_hash:
                raise
            raise _changed_since_shown(ticket, ticket_now) from refused
        self.steps.append(ReviewStep(ticket, category, decided_ticket))
        self.opened = None
        self.alike = self._waiting_alike(decided_ticket)
        return decided_ticket

    def _waiting_alike(self, ticket: Ticket) -> list[SimilarTicket]:
        try:
            found = self.triage.similar(ticket.ticket_id, SimilarQuery(waiting=True, limit=MOST_SIMILAR))
        except TriageError:  # an older instance knows none; the verdict is stored
            return []
        return [each for each in found if each.similarity >= NEARLY_SAME and each.ticket.status == "needs_review"]

    @property
    def offer_alike(self) -> str:
        """Return the offer to decide what waits with nearly the same text too; empty if nothing does."""
        if not self.alike:
            return ""
        nearly = sum(each.similarity < SAME for each in self.alike)
        how_many = messages.plural(len(self.alike), "waiting tickets have", "waiting ticket has")
        which = "nearly the same text" if nearly == len(self.alike) else "the same text"
        some = f" ({nearly:,} of them nearly)" if 0 < nearly < len(self.alike) else ""
        return f"{how_many} {which}{some}: {ALIKE} decides them too"

    def give_alike(self) -> ReviewStep:
        """Give what waits with nearly the same text the category of the last step, and return that as one step.

        Tickets that have changed since are left out. Raises `TriageError` if there are none.
        """
        if not self.alike or not self.steps or self.steps[-1].category is None:
            raise RowError("nothing that waits has nearly the text of the ticket that was decided last")
        category = self.steps[-1].category
        before = {each.ticket.ticket_id: each.ticket for each in self.alike}
        drafts = [VerdictDraft(n, t.ticket_id, category, None, t.shown_hash) for n, t in enumerate(before.values())]
        self.alike, decided = [], self._store_all(drafts)
        if not decided:
            raise RowError("others have changed these tickets since")
        first, *others = decided
        self.steps.append(ReviewStep(before[first.ticket_id], category, first, tuple(others)))
        return self.steps[-1]

    def _store_all(self, drafts: Sequence[VerdictDraft]) -> list[Ticket]:
        """Store verdicts; return the tickets that took theirs."""
        return [o.value for o in self.triage.give_verdicts(drafts) if o.error is None and o.value is not None]

    def read_again(self, ticket: Ticket) -> Ticket:
        """Return the ticket as it is stored now. Raises `TriageError`."""
        return next(iter(self.triage.find(Selection(ids=(ticket.ticket_id,)))), ticket)

    @property
    def offer(self) -> str:
        """Return the offer to learn, if the session has enough verdicts since the last time; else an empty text."""
        new_verdicts = self.verdicts_given - self._verdicts_when_learned
        enough = self._learn is not None and new_verdicts >= EVERY
        return f"{new_verdicts} new verdicts: {LEARN} learns from them" if enough else ""

    def learn(self) -> str:
        """Learn from the session's verdicts, which changes the order of the queue; return a summary.

        Raises `TriageError`.
        """
        if self._learn is None:
            raise RowError("learning works on a database here only", hint="run triage learn on the remote's machine")
        self._verdicts_when_learned = self.verdicts_given
        return self._learn()

    def skip(self, ticket: Ticket) -> None:
        """Skip a ticket, which leaves it for later."""
        self.alike = []
        self.steps.append(ReviewStep(ticket, None, ticket))
        self.opened = None

    def can_undo(self) -> bool:
        """Return whether the last step of the session can be undone; a removed category cannot be given again."""
        return bool(self.steps) and self._removed_category(self.steps[-1]) is None

    def undo(self) -> ReviewStep:
        """Undo the last step, and return it with the ticket as it is now: an earlier verdict holds again.

        Raises `TriageError` if there is no step, or the earlier verdict is no category now; then the step stays. If
        another person has decided since, that is raised and stays, and the step is dropped.
        """
        if not self.steps:
            raise RowError("nothing to undo")
        step, self.alike = self.steps[-1], []
        if step.alike:
            together = (step.decided, *step.alike)
            held = [VerdictDraft(n, t.ticket_id, None, None, t.shown_hash) for n, t in enumerate(together)]
            taken_back = self._store_all(held)
            self.steps.pop()
            if not taken_back:
                raise RowError("others have decided these tickets since")
            return step._replace(ticket=taken_back[0], alike=tuple(taken_back[1:]))
        if removed := self._removed_category(step):
            raise RowError(f"{removed} is no category now, so that it cannot be given again")
        ticket = step.ticket
        if step.category is not None:
            ticket_now = self._check_verdict_holds(step)
            category, note = (ticket.category, ticket.reason or "") if ticket.verdict else (None, None)
            ticket = self._store_verdict(VerdictDraft(0, ticket.ticket_id, category, note, ticket_now.shown_hash))
        return self.steps.pop()._replace(ticket=ticket)

    def _check_verdict_holds(self, step: ReviewStep) -> Ticket:
        """Return the ticket as it is now. Raises `RowError`, and drops the step, if its verdict is another's."""
        now, given = self.read_again(step.decided), step.decided
        if (now.verdict, now.category, now.reason) == (given.verdict, given.category, given.reason):
            return now
        self.steps.pop()
        changed = f"decided since: {now.category}; that stays" if now.verdict else "taken the verdict back"
        raise RowError(f"{now.external_id or short(now.ticket_id)}: another person has {changed}")

    def _removed_category(self, step: ReviewStep) -> str | None:
        """Return the category that a verdict replaced, if it no longer exists."""
        replaced_category = step.ticket.category if step.category and step.ticket.verdict else None
        return None if replaced_category in self.category_names else replaced_category

    def _store_verdict(self, draft: VerdictDraft) -> Ticket:
        for outcome in self.triage.give_verdicts([draft]):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                return outcome.value
        raise TriageError("the verdict was not stored", hint="try again")


def _changed_since_shown(ticket: Ticket, ticket_now: Ticket) -> RowError:
    """Return the error that says what has changed of a ticket since the review showed it."""
    if (ticket_now.subject, ticket_now.description) != (ticket.subject, ticket.description):
        return RowError("its text has changed", hint="read it again, then give the category again")
    changed = f"decided: {ticket_now.category}" if ticket_now.verdict else "taken the verdict back"
    return RowError(f"another person has {changed}", hint="give it again to overrule that")
