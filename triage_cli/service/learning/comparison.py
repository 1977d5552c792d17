"""Compares a model with a new one by labelled tickets that neither has learned, held out of both where need be."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.ports import Settings, Trainer
from triage_cli.service.learning.training_data import splits

# Labelled tickets up to which settings that were chosen on all of them favour the new model noticeably.
FEW_LABELLED = 200
SAME_SETTINGS = 0.98  # share of the labels that are known from which on the rest would not choose other settings


class HeldOutAnswer(NamedTuple):
    """A model's answer about one held-out ticket, and its log loss."""

    graded: dm.Graded
    loss: float


class Comparison(NamedTuple):
    """The answers of the model in use (`before`) and of new ones (`after`) about the same held-out tickets.

    `untaught` are those of the model of the wording alone, which the new one must not be worse than either. `loses` if
    the new model lacks labels that the version in use has learned.
    """

    before: list[HeldOutAnswer]
    after: list[HeldOutAnswer]
    untaught: list[HeldOutAnswer]
    loses: bool = False

    @property
    def gain(self) -> tuple[float, tuple[float, float]]:
        """Return by how much the new mean log loss is lower, in nats, with its 95 % interval."""
        return dm.paired_interval([old.loss - new.loss for old, new in zip(self.before, self.after, strict=True)])

    @property
    def sure_from(self) -> dm.MeasuredThreshold:
        """Return from which confidence on the answers of the new model are sure."""
        graded_answers = (answer.graded for answer in self.after)
        return dm.measured_threshold([(each.confidence or 0.0, each.right) for each in graded_answers])

    @property
    def more_right(self) -> int:
        """Return how many more answers of the new model are right."""
        return sum(answer.graded.right for answer in self.after) - sum(answer.graded.right for answer in self.before)

    @property
    def refusal(self) -> str:
        """Return why the new model is not to be taken; empty if it is to be.

        Neither its right answers may be fewer, nor its log loss higher, by more than chance explains: than those of the
        model in use, and than those of the untaught one. As a rule, more labels make a model better, but by less than a
        hundred held-out tickets can show. Where it lacks labels of the version in use, its log loss must be lower.
        """
        if self.loses and self.gain[0] <= 0:
            return "the new model is not better on held-out tickets: its log loss is not lower"
        for others, than in ((self.before, ""), (self.untaught, " than that of the untaught model")):
            pairs = list(zip(others, self.after, strict=True))
            _, (_, most_gain) = dm.paired_interval([old.loss - new.loss for old, new in pairs])
            if most_gain < 0:
                worse = f"its log loss is higher{than}, by more than chance explains"
                return f"the new model is worse on held-out tickets: {worse}"
            more_right = [float(new.graded.right) - float(old.graded.right) for old, new in pairs]
            if dm.paired_interval(more_right)[1][1] < 0:
                fewer = f"{-sum(more_right):,.0f} fewer of {len(self.after):,} held-out tickets"
                return f"the new model is right on {fewer}{than and ' than the untaught one'}"
        return ""


class InUse(NamedTuple):
    """The model in use, and which of the labelled rows it has learned from (`known`).

    It is `whole` if it has learned from these rows and nothing else, so that training it again, without some of them,
    shows what it knows without them; `loses` if a version has learned from others, too.
    """

    weights: bytes
    known: Sequence[bool]
    whole: bool
    loses: bool = False

    def comparable(self, rows: Sequence[dm.Labelled]) -> list[int]:
        """Return the indexes of the rows on which it can be compared with a new model."""
        pairs = enumerate(zip(rows, self.known, strict=True))
        return [n for n, (row, learned) in pairs if not row.is_typical and (self.whole or not learned)]


def shared_settings(trainer: Trainer, labelled_rows: Sequence[dm.Labelled], unlabelled: dm.Unlabelled) -> Settings:
    """Return the settings of all trainings on many rows, to save time; none for few: each training finds its own."""
    return trainer.settings(labelled_rows, unlabelled) if len(labelled_rows) > FEW_LABELLED else ()


def compared(
    trainer: Trainer,
    rows: Sequence[dm.Labelled],
    unlabelled: dm.Unlabelled,
    settings: Settings,
    in_use: InUse,
    trained: Callable[[float], None],
    levels: dm.Levels = dm.FLAT,
) -> Comparison:
    """Compare by cross-validation; all trainings learn from `unlabelled` too.

    `trained` is called before each training and gets the share of the folds that is done.

    Without `settings`, each training chooses its own on its rows, so that no held-out row speaks for the new model
    before it is held out. With `settings`, the new model has these in all folds, and the one in use has its own, or the
    same where nearly all labels are known to it. The weight of `unlabelled` is always the same.

    A row that the model in use has not seen is put to that model itself. For a row that it has learned from, it is
    trained again without the fold of that row, as the new one is.
    """
    before: dict[int, HeldOutAnswer] = {}
    after: dict[int, HeldOutAnswer] = {}
    untaught: dict[int, HeldOutAnswer] = {}
    comparable = set(in_use.comparable(rows))
    known = [row for n, row in enumerate(rows) if in_use.known[n] and in_use.whole]
    earlier = settings
    if known and settings and len(known) < SAME_SETTINGS * len(rows):
        earlier = trainer.settings(known, unlabelled)
    folds = list(splits(rows))
    for done, (rest, held_out) in enumerate(folds):
        unknown = [n for n in held_out if n in comparable and not in_use.known[n]]
        learned = [n for n in held_out if n in comparable and in_use.known[n]]
        if not unknown and not learned:
            continue
        trained(done / len(folds))
        before |= _held_out_answers(trainer, in_use.weights, rows, unknown, levels)
        if learned:
            retrained = trainer.fit([rows[n] for n in rest if in_use.known[n]], unlabelled, earlier)
            before |= _held_out_answers(trainer, retrained, rows, learned, levels)
        untaught |= _held_out_answers(trainer, trainer.built_in(), rows, [*unknown, *learned], levels)
        trained((done + 0.5) / len(folds))
        after |= _held_out_answers(
            trainer, trainer.fit([rows[n] for n in rest], unlabelled, settings), rows, [*unknown, *learned], levels
        )
    in_order = sorted(before)
    return Comparison(
        [before[n] for n in in_order], [after[n] for n in in_order], [untaught[n] for n in in_order], in_use.loses
    )


def compared_on(
    trainer: Trainer, proving: Sequence[dm.Labelled], in_use: InUse, weights: bytes, levels: dm.Levels
) -> Comparison:
    """Compare the model in use with a new one by texts that neither has learned."""
    before, after, untaught = (
        [answer for _, answer in _held_out_answers(trainer, each, proving, range(len(proving)), levels)]
        for each in (in_use.weights, weights, trainer.built_in())
    )
    return Comparison(before, after, untaught, in_use.loses)


def _held_out_answers(
    trainer: Trainer, weights: bytes, labelled_rows: Sequence[dm.Labelled], indexes: Sequence[int], levels: dm.Levels
) -> Iterator[tuple[int, HeldOutAnswer]]:
    held_out_rows = [labelled_rows[n] for n in indexes]
    answers = trainer.answers(weights, [row.text for row in held_out_rows])
    losses = trainer.losses(weights, held_out_rows)
    for n, row, (guess, confidence), loss in zip(indexes, held_out_rows, answers, losses, strict=True):
        answered = row.category if levels.is_within(guess, row.category) else guess
        is_sure = (confidence or 0.0) >= dm.STANDARD_THRESHOLD
        yield n, HeldOutAnswer(dm.Graded(row.category, answered, confidence, is_sure), loss)


def figures(held_out_answers: Sequence[HeldOutAnswer]) -> dm.Figures:
    """Return the figures of a model's answers about held-out tickets."""
    graded = [answer.graded for answer in held_out_answers]
    interval = dm.wilson(sum(row.right for row in graded), len(graded))
    log_loss = sum(answer.loss for answer in held_out_answers) / len(held_out_answers)
    return dm.Figures(len(held_out_answers), dm.share_right(graded), interval, dm.macro_f1(graded), log_loss)
