"""Compares the model in use with a new one on held-out labelled tickets, ticket by ticket."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from triage_cli.domain import Graded, Labelled, Unlabelled, macro_f1, paired_interval, share, wilson
from triage_cli.ports import Settings, Trainer
from triage_cli.service.learning.training_data import SURE, splits

# Labelled tickets up to which settings that were chosen on all of them favour the new model noticeably.
FEW_LABELLED = 200


class Figures(NamedTuple):
    """A model's figures on held-out tickets; `log_loss` is the mean in nats."""

    n: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    log_loss: float


class HeldOutAnswer(NamedTuple):
    """A model's answer about one held-out ticket, and its log loss."""

    graded: Graded
    loss: float


class Comparison(NamedTuple):
    """The answers of the model in use (`before`) and of new ones (`after`) about the same held-out tickets.

    `continued` if that is a learned version, and the new one learns from all that it has learned from, and more.
    """

    before: list[HeldOutAnswer]
    after: list[HeldOutAnswer]
    continued: bool = False

    @property
    def gain(self) -> tuple[float, tuple[float, float]]:
        """Return by how much the new mean log loss is lower, in nats, with its 95 % interval."""
        return paired_interval([old.loss - new.loss for old, new in zip(self.before, self.after, strict=True)])

    @property
    def more_right(self) -> int:
        """Return how many more answers of the new model are right."""
        return sum(answer.graded.right for answer in self.after) - sum(answer.graded.right for answer in self.before)

    @property
    def refusal(self) -> str:
        """Return why the new model is not to be taken; empty if it is to be.

        Neither its right answers may be fewer, nor its log loss higher, by more than chance explains. As a rule, more
        labels make a model better, but by less than a hundred held-out tickets can show. Where it lacks labels that
        the model in use has, or is the first to learn, its log loss must be lower.
        """
        answer_pairs = zip(self.before, self.after, strict=True)
        _, (_, most) = paired_interval([float(new.graded.right) - float(old.graded.right) for old, new in answer_pairs])
        gain, (_, most_gain) = self.gain
        if self.continued and most_gain < 0:
            return "the new model is worse on held-out tickets: its log loss is higher by more than chance explains"
        if not self.continued and gain <= 0:
            return "the new model is not better on held-out tickets: its log loss is not lower"
        if most < 0:
            return f"the new model is right on {-self.more_right:,} fewer of {len(self.after):,} held-out tickets"
        return ""


class InUse(NamedTuple):
    """The model in use, and which of the labelled rows it has learned from (`known`).

    It is `whole` if it has learned from these rows and nothing else, so that training it again, without some of them,
    shows what it knows without them.
    """

    weights: bytes
    known: Sequence[bool]
    whole: bool

    @property
    def comparable(self) -> list[int]:
        """Return the indexes of the rows on which it can be compared with a new model."""
        return [n for n, learned in enumerate(self.known) if self.whole or not learned]


def shared_settings(trainer: Trainer, labelled_rows: Sequence[Labelled], unlabelled: Unlabelled) -> Settings:
    """Return the settings of all trainings on many rows, to save time; none for few: each training finds its own."""
    return trainer.settings(labelled_rows, unlabelled) if len(labelled_rows) > FEW_LABELLED else ()


def compared(
    trainer: Trainer, labelled_rows: Sequence[Labelled], unlabelled: Unlabelled, settings: Settings, in_use: InUse,
    heartbeat: Callable[[], None],
) -> Comparison:  # fmt: skip
    """Compare by cross-validation; `heartbeat` is called between two trainings, which all learn from `unlabelled` too.

    Without `settings`, each training chooses its own on its rows, so that no held-out row speaks for the new model
    before it is held out. With `settings`, the new model has these in all folds, and the one in use has its own. The
    weight of `unlabelled` is always the same.

    A row that the model in use has not seen is put to that model itself. For a row that it has learned from, it is
    trained again without the fold of that row, as the new one is.
    """
    before: dict[int, HeldOutAnswer] = {}
    after: dict[int, HeldOutAnswer] = {}
    comparable = set(in_use.comparable)
    known = [row for n, row in enumerate(labelled_rows) if in_use.known[n] and n in comparable]
    earlier = trainer.settings(known, unlabelled) if known and settings else ()
    for rest, held_out in splits(labelled_rows):
        unknown = [n for n in held_out if n in comparable and not in_use.known[n]]
        learned = [n for n in held_out if n in comparable and in_use.known[n]]
        if not unknown and not learned:
            continue
        heartbeat()
        before |= _held_out_answers(trainer, in_use.weights, labelled_rows, unknown)
        if learned:
            retrained = trainer.fit([labelled_rows[n] for n in rest if in_use.known[n]], unlabelled, earlier)
            before |= _held_out_answers(trainer, retrained, labelled_rows, learned)
        heartbeat()
        after |= _held_out_answers(
            trainer,
            trainer.fit([labelled_rows[n] for n in rest], unlabelled, settings),
            labelled_rows,
            [*unknown, *learned],
        )
    return Comparison([before[n] for n in sorted(before)], [after[n] for n in sorted(before)], in_use.whole)


def _held_out_answers(
    trainer: Trainer, weights: bytes, labelled_rows: Sequence[Labelled], indexes: Sequence[int]
) -> Iterator[tuple[int, HeldOutAnswer]]:
    held_out_rows = [labelled_rows[n] for n in indexes]
    answers = trainer.answers(weights, [row.text for row in held_out_rows])
    losses = trainer.losses(weights, held_out_rows)
    for n, row, (guess, confidence), loss in zip(indexes, held_out_rows, answers, losses, strict=True):
        yield n, HeldOutAnswer(Graded(row.category, guess, confidence, (confidence or 0.0) >= SURE), loss)


def figures(held_out_answers: Sequence[HeldOutAnswer]) -> Figures:
    """Return the figures of a model's answers about held-out tickets."""
    graded = [answer.graded for answer in held_out_answers]
    interval = wilson(sum(row.right for row in graded), len(graded))
    log_loss = sum(answer.loss for answer in held_out_answers) / len(held_out_answers)
    return Figures(len(held_out_answers), share(graded), interval, macro_f1(graded), log_loss)
