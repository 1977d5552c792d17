"""A teacher: a classifier that labels chosen texts of stored tickets once, for the embedded model to learn from."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Classifier, ModelRegistry, Ranking, Store
from triage_cli.service.answers import answers
from triage_cli.service.runs import RunRecorder, TrialRecorder

CANDIDATES = 2_000  # the newest tickets that are chosen among: each is compared with each
JUDGING = 50  # decisions of people, the newest, that tell how good a teacher is


class Lessons(NamedTuple):
    """The texts that a teacher is asked about: `judged` have a person's label, the others are those to be labelled."""

    judged: Sequence[dm.Labelled]
    texts: Sequence[dm.Labelled]

    def tickets(self, question: str) -> Iterator[dm.Ticket]:
        """Yield the texts as tickets, whose ids are their places: first those that judge."""
        for place, each in enumerate((*self.judged, *self.texts)):
            yield dm.Ticket.of_text(each.text, ticket_id=str(place), source="learn")._replace(asked=(question,))


def chosen_lessons(
    store: Store, registry: ModelRegistry, ranking: Ranking, question: dm.Question, most: int
) -> Lessons:
    """Return at most `most` texts to label: first those that are typical of what is unsure, each but once.

    Texts with a label of a person or of a teacher are left out. Beside them are decisions of people, which judge it.
    """
    labelled = list(registry.labelled(question.name))
    held = (each for proves in (False, True) for each in store.labelled_texts.held(question.name, proves=proves))
    known = {each.text for each in (*labelled, *held)}
    candidates: dict[str, dm.Labelled] = {}
    doubts: dict[str, float] = {}
    for ticket in store.find(dm.Selection(limit=2 * CANDIDATES)):
        if len(candidates) == CANDIDATES:
            break
        if not ticket.is_erased and ticket.text.strip() and ticket.text not in known:
            candidates[ticket.text] = _unlabelled(ticket)
            doubts[ticket.text] = 1.0 - (ticket.confidence or 0.0)
    order = ranking([*candidates], [*doubts.values()])
    texts = [*candidates.values()]
    return Lessons(labelled[-JUDGING:], [texts[place] for place, _ in zip(order, range(most), strict=False)])


def _unlabelled(ticket: dm.Ticket) -> dm.Labelled:
    return dm.Labelled(
        ticket.text,
        "",
        is_typical=True,
        identity=dm.identity_of_ticket(ticket.ticket_id),
        source="teacher",
        customer_id=ticket.customer_id,
        written_at=ticket.created_at,
    )


def taught(
    lessons: Lessons,
    teacher: Classifier,
    question: dm.Question,
    store: Store,
    registry: ModelRegistry,
    recorder: RunRecorder,
) -> dm.TeacherReport:
    """Ask a teacher about texts, and keep its labels as they come: a kill loses what is being asked alone.

    What was paid for is kept, too, so that nobody pays for it again. The budget or a signal may end it.
    """
    context, kept, agreed, judged, failed = recorder.context, dm.KeptTexts(), 0, 0, 0
    stop, chunks = context.stop, dm.chunked(lessons.tickets(question.name), teacher.chunk_size)
    trials, first = TrialRecorder(registry, context), len(lessons.judged)
    stopped: dm.TriageError | None = None
    try:
        to_ask = takewhile(lambda _: not stop.stopping, chunks)
        for arrived in answers(teacher, to_ask, context.budget, trials.save_steps):
            trials.save(arrived.final)
            labelled: list[dm.Labelled] = []
            for outcome in arrived.final:
                place, category = int(outcome.ticket.ticket_id), outcome.value and outcome.value.steps[-1].category
                if category is None:
                    failed += 1
                elif place < first:
                    judged += 1
                    agreed += question.labels.is_within(lessons.judged[place].category, category)
                else:
                    labelled.append(lessons.texts[place - first]._replace(category=category))
            recorder.counts["asked"] += len(arrived.final)
            if labelled:
                event = context.event(dm.EventAction.LABELLED, None, {"teacher": teacher.name})
                added = store.labelled_texts.keep(labelled, question.name, context.lease, event)
                kept = dm.KeptTexts(*map(sum, zip(kept, added, strict=True)))
    except dm.BudgetError as error:
        stopped = error
        recorder.exit_codes.add(error.exit_code)
    recorder.counts.update(kept._asdict())
    cost = context.budget.spent
    return dm.TeacherReport(teacher.name, recorder.counts["asked"], kept.new, failed, judged, agreed, cost, stopped)
