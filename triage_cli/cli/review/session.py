"""One review session: the verdicts and skips of a person, and their undo."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.cli import messages
from triage_cli.cli.review.key_bindings import ALIKE, BEST_GUESSES, CATEGORY_DIGITS, LEARN, keys_of
from triage_cli.ports import Triage
from triage_cli.service import EVERY

SAME = 0.9999  # the similarity from which on two texts are the same


class ReviewStep(NamedTuple):
    """A step of a review session: the ticket before it, the given answer (None: skipped), and the decided ticket.

    `alike` are the other tickets that the same step decided.
    """

    ticket: dm.Ticket
    value: str | None
    decided: dm.Ticket
    question: str = dm.CATEGORY
    alike: tuple[dm.Ticket, ...] = ()

    @property
    def said(self) -> str | None:
        """Return the given answer as `triage verdict` takes it: a category, or `urgency=now`."""
        return self.value if self.value is None or self.question == dm.CATEGORY else f"{self.question}={self.value}"


class ReviewSession:
    """A review session: gives verdicts, each stored before the call returns, and remembers its steps for undo.

    `learn` lets the embedded model learn from all verdicts, and returns a summary; it is None on a remote. Of the
    `questions`, the first of which is that for the category, one is `asked` at a time. Where its values are in levels,
    a person is asked for the first level, and then, once it is `opened`, for what is below.
    """

    def __init__(
        self, triage: Triage, questions: Sequence[dm.Question], learn: Callable[[], str] | None = None
    ) -> None:
        self.triage = triage
        self.questions = {question.name: question for question in questions}
        self.category_names = _names(questions[0])
        self.asked = questions[0]
        self.opened: str | None = None
        self._asked_of: str | None = None  # the id of the ticket
        self._chances: dict[str, Mapping[str, float]] = {}  # of each value, by question
        self.steps: list[ReviewStep] = []
        self.alike: list[dm.SimilarTicket] = []  # what waits with nearly the text of the ticket that was decided last
        self._learn = learn
        self._verdicts_when_learned = 0  # the number of verdicts given then

    @property
    def verdicts_given(self) -> int:
        """Return the number of verdicts of the session that were not undone."""
        return sum(1 + len(step.alike) for step in self.steps if step.value is not None)

    @property
    def skipped(self) -> int:
        """Return the number of tickets that were skipped in the session."""
        return sum(step.value is None for step in self.steps)

    # -- what is asked

    @property
    def asked_for(self) -> str:
        """Return what a person gives now, in words."""
        return dm.one_of(self.asked.name)

    @property
    def asks_more(self) -> bool:
        """Return whether tickets are asked more than their category."""
        return len(self.questions) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the values of the question that is asked."""
        return _names(self.asked)

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the values to choose from now, the best guesses first if there are more than digits."""
        return tuple(dict.fromkeys((*self._likely, *self._listed)))

    @property
    def by_key(self) -> dict[str, str]:
        """Return the values to choose from by their keys."""
        return keys_of(self._listed, self._likely)

    @property
    def _listed(self) -> tuple[str, ...]:
        """Return the values of the first level, or an opened one and those below it, in their order."""
        parents = self.asked.labels.parents
        below = (name for name in self.names if parents.get(name) == self.opened)
        return tuple(below) if self.opened is None else (self.opened, *below)

    @property
    def _likely(self) -> tuple[str, ...]:
        """Return the best guesses about the ticket, the best first; none if each value to choose has a digit."""
        chances, listed = self._chances.get(self.asked.name, {}), self._listed
        if len(listed) <= len(CATEGORY_DIGITS):
            return ()
        guesses = sorted((name for name in listed if name in chances), key=lambda name: -chances[name])
        return tuple(guesses[:BEST_GUESSES])

    def open(self, value: str) -> bool:
        """Open a value that has others below it, and return whether it was; one that is open already is chosen."""
        if value == self.opened or value not in self.asked.labels.parents.values():
            return False
        self.opened = value
        return True

    def turn_to(self, question: str) -> None:
        """Ask another question about the ticket."""
        self.asked, self.opened = self.questions[question], None

    def ask_next(self) -> None:
        """Ask the question after the present one; the first follows the last."""
        names = [*self.questions]
        self.turn_to(names[(names.index(self.asked.name) + 1) % len(names)])

    def begin(self, ticket: dm.Ticket) -> None:
        """Ask about another ticket what it waits for, or else its category; about the same one, go on."""
        if ticket.ticket_id != self._asked_of:
            self._asked_of, self._chances = ticket.ticket_id, self._chances_of(ticket)
            self.turn_to(self.held_by(ticket) or dm.CATEGORY)

    def _chances_of(self, ticket: dm.Ticket) -> dict[str, Mapping[str, float]]:
        """Return how likely each value is by the last answers about a ticket, by question; empty if no key needs it."""
        if max(map(len, map(_names, self.questions.values()))) <= len(CATEGORY_DIGITS):
            return {}
        try:
            answers = self.triage.history(ticket.ticket_id).classifications
        except dm.TriageError:  # the keys are in the order of the configuration
            return {}
        asked = self.questions
        return {a.question: asked[a.question].labels.chances(a) for a in answers if a.chances and a.question in asked}

    def held_by(self, ticket: dm.Ticket) -> str | None:
        """Return the first question for which a ticket waits for a person; None if it does not wait."""
        holding = (name for name, each in self.questions.items() if name == dm.CATEGORY or each.required)
        return next((name for name in holding if dm.given_answer(ticket, name).state != "answered"), None)

    def likely_choice(self, ticket: dm.Ticket) -> str | None:
        """Return which of the choices leads to the guess about a ticket."""
        path = [] if (guess := self.guess(ticket)) is None else [*self.asked.labels.path(guess)]
        return next((name for name in path if name in self.choices), None)

    # -- what is given

    def summary(self) -> str:
        """Return a summary of the session, with the number of tickets that still need a person if it can be read."""
        session_counts = f"{messages.plural(self.verdicts_given, 'verdicts given')}, {self.skipped:,} skipped"
        try:
            tickets_left = self.triage.stats().by_status.get("needs_review", 0)
        except dm.TriageError:
            return session_counts
        return f"{session_counts}, {tickets_left:,} left"

    def guess(self, ticket: dm.Ticket) -> str | None:
        """Return the answer that a machine decided or guessed; None if there is none, or it no longer exists."""
        given = dm.given_answer(ticket, self.asked.name)
        guess = given.suggestion or given.value
        return guess if guess in self.asked.labels and not given.verdict else None

    def give(self, ticket: dm.Ticket, value: str, note: str | None = None) -> dm.Ticket:
        """Store a verdict on the question that is asked, and return the changed ticket; ask what it still waits for.

        Raises `TriageError` if it cannot be given, also if another person has decided since the ticket was read, or
        its text has changed.
        """
        question = self.asked.name
        try:
            decided_ticket = self._store_verdict(_draft(0, ticket, question, value, note))
        except dm.RowError as refused:
            now = self.read_again(ticket)
            if now.is_erased or dm.shown_hash_of(now, question) == dm.shown_hash_of(ticket, question):
                raise
            raise _changed_since_shown(ticket, now, question) from refused
        self.steps.append(ReviewStep(ticket, value, decided_ticket, question))
        self.alike = self._waiting_alike(decided_ticket)
        self.turn_to(self.held_by(decided_ticket) or question)
        return decided_ticket

    def _waiting_alike(self, ticket: dm.Ticket) -> list[dm.SimilarTicket]:
        try:
            found = self.triage.similar(ticket.ticket_id, dm.SimilarQuery(waiting=True, limit=dm.MOST_SIMILAR))
        except dm.TriageError:  # an older instance knows none; the verdict is stored
            return []
        near = [each for each in found if each.similarity >= dm.NEARLY_SAME and each.ticket.status == "needs_review"]
        return [each for each in near if dm.given_answer(each.ticket, self.asked.name).state != "answered"]

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
        """Give what waits with nearly the same text the answer of the last step, and return that as one step.

        Tickets that have changed since are left out. Raises `TriageError` if there are none.
        """
        if not self.alike or not self.steps or self.steps[-1].value is None:
            raise dm.RowError("nothing that waits has nearly the text of the ticket that was decided last")
        last = self.steps[-1]
        before = {each.ticket.ticket_id: each.ticket for each in self.alike}
        drafts = [_draft(n, ticket, last.question, last.value) for n, ticket in enumerate(before.values())]
        self.alike, decided = [], self._store_all(drafts)
        if not decided:
            raise dm.RowError("others have changed these tickets since")
        first, *others = decided
        if shown_now := next((each for each in decided if each.ticket_id == self._asked_of), None):
            self.turn_to(self.held_by(shown_now) or self.asked.name)
        self.steps.append(ReviewStep(before[first.ticket_id], last.value, first, last.question, tuple(others)))
        return self.steps[-1]

    def _store_all(self, drafts: Sequence[dm.VerdictDraft]) -> list[dm.Ticket]:
        """Store verdicts; return the tickets that took theirs."""
        stored = (o.value for o in self.triage.give_verdicts(drafts) if o.error is None and o.value is not None)
        return [self._shown(ticket) for ticket in stored]

    def read_again(self, ticket: dm.Ticket) -> dm.Ticket:
        """Return the ticket as it is stored now. Raises `TriageError`."""
        return next(iter(self.triage.find(dm.Selection(ids=(ticket.ticket_id,)))), ticket)

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
            raise dm.RowError("learning works on a database here only", hint="run triage learn on the remote's machine")
        self._verdicts_when_learned = self.verdicts_given
        return self._learn()

    def skip(self, ticket: dm.Ticket) -> None:
        """Skip a ticket, which leaves it for later."""
        self.alike = []
        self.steps.append(ReviewStep(ticket, None, ticket, self.asked.name))
        self.opened = None

    def can_undo(self) -> bool:
        """Return whether the last step of the session can be undone; a removed value cannot be given again."""
        return bool(self.steps) and self._removed_value(self.steps[-1]) is None

    def undo(self) -> ReviewStep:
        """Undo the last step, and return it with the ticket as it is now, of which the same is asked again.

        An earlier verdict holds again. Raises `TriageError` if there is no step, or that is no value now; then the
        step stays. If another person has decided since, that is raised and stays, and the step is dropped.
        """
        if not self.steps:
            raise dm.RowError("nothing to undo")
        step, self.alike = self.steps[-1], []
        if step.alike:
            together = (step.decided, *step.alike)
            held = [_draft(n, ticket, step.question, None) for n, ticket in enumerate(together)]
            taken_back = self._store_all(held)
            self.steps.pop()
            if not taken_back:
                raise dm.RowError("others have decided these tickets since")
            return self._back_at(step._replace(ticket=taken_back[0], alike=tuple(taken_back[1:])))
        if removed := self._removed_value(step):
            raise dm.RowError(f"{removed} is no {dm.one_of(step.question)} now, so that it cannot be given again")
        ticket = step.ticket
        if step.value is not None:
            ticket_now, before = self._check_verdict_holds(step), dm.given_answer(ticket, step.question)
            value, note = (before.value, before.reason or "") if before.verdict else (None, None)
            ticket = self._store_verdict(_draft(0, ticket_now, step.question, value, note))
        return self._back_at(self.steps.pop()._replace(ticket=ticket))

    def _back_at(self, undone: ReviewStep) -> ReviewStep:
        """Ask again what an undone step had answered."""
        self._asked_of, self._chances = undone.ticket.ticket_id, self._chances_of(undone.ticket)
        self.turn_to(undone.question)
        return undone

    def _check_verdict_holds(self, step: ReviewStep) -> dm.Ticket:
        """Return the ticket as it is now. Raises `RowError`, and drops the step, if its verdict is another's."""
        ticket_now = self.read_again(step.decided)
        now, given = (dm.given_answer(ticket, step.question) for ticket in (ticket_now, step.decided))
        if (now.verdict, now.value, now.reason) == (given.verdict, given.value, given.reason):
            return ticket_now
        self.steps.pop()
        changed = f"decided since: {now.value}; that stays" if now.verdict else "taken the verdict back"
        raise dm.RowError(f"{ticket_now.external_id or dm.short(ticket_now.ticket_id)}: another person has {changed}")

    def _removed_value(self, step: ReviewStep) -> str | None:
        """Return the value that a verdict replaced, if it no longer exists."""
        before = dm.given_answer(step.ticket, step.question)
        replaced_value = before.value if step.value and before.verdict else None
        return None if replaced_value in self.questions[step.question].labels else replaced_value

    def _store_verdict(self, draft: dm.VerdictDraft) -> dm.Ticket:
        for outcome in self.triage.give_verdicts([draft]):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                return self._shown(outcome.value)
        raise dm.TriageError("the verdict was not stored", hint="try again")

    def _shown(self, ticket: dm.Ticket) -> dm.Ticket:
        """Return a stored ticket with an answer to each question, given or not."""
        return dm.with_questions(ticket, [name for name in self.questions if name != dm.CATEGORY])


def _names(question: dm.Question) -> tuple[str, ...]:
    return tuple(value.name for value in question.values)


def _draft(row: int, ticket: dm.Ticket, question: str, value: str | None, note: str | None = None) -> dm.VerdictDraft:
    """Return a verdict on what was shown of a ticket; without a value, the one that holds is taken back."""
    return dm.VerdictDraft(row, ticket.ticket_id, value, note, dm.shown_hash_of(ticket, question), question=question)


def _changed_since_shown(ticket: dm.Ticket, ticket_now: dm.Ticket, question: str) -> dm.RowError:
    """Return the error that says what has changed of a ticket since the review showed it."""
    if (ticket_now.subject, ticket_now.description) != (ticket.subject, ticket.description):
        return dm.RowError("its text has changed", hint="read it again, then give the category again")
    now = dm.given_answer(ticket_now, question)
    changed = f"decided: {now.value}" if now.verdict else "taken the verdict back"
    return dm.RowError(f"another person has {changed}", hint="give it again to overrule that")
