"""The first week by docs/howto/first-week.md: what is sent, how much of it is wrong, and what learning changes.

Call it as: python benchmarks/weeks.py DATA_DIR [SET…] [--tickets N] [--draws N]

Of each set so many tickets of train.csv are there, with the categories' names and descriptions alone. Each 50 verdicts
in the order of review are learned as `triage learn` does, and its version is in use if it does not refuse it. After 50
and after 150 verdicts it is told what would be sent of all tickets, verdicts left out, and how much of that is wrong
(pooled over the draws, and the worst draw with its number): by the threshold that holds where the configuration names
none, and at fixed ones. And, on rows of test.csv, what the version is against the untaught model in its worst draw.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.accuracy import Labelled, categories_of, read
from benchmarks.learning import in_order_of_review, inside
from triage_cli import domain as dm
from triage_cli.classifiers import LocalTrainer, fitted_model
from triage_cli.classifiers import fit_model as fit
from triage_cli.service import Comparison, InUse, compared, shared_settings

SETS = ("it_service", "cfpb_complaints", "bitext_category", "banking77", "hint3_curekart", "clinc150")
VERDICTS, ROUNDS, TOLD = 50, 3, (50, 150)
UNLABELLED = 600  # tickets without a verdict that may be learned from
TESTED = 1_000
FIXED = (0.6, 0.85)


class Judged(NamedTuple):
    """How right a model is on test rows, and its mean log loss."""

    right: float
    loss: float


class Round(NamedTuple):
    """What holds after so many verdicts: each ticket's confidence and whether the guess is right, verdicts left out.

    `comparison` is what was held out of the version in use, None if there is none.
    """

    verdicts: int
    tickets: int
    answers: Sequence[tuple[float, bool]]
    threshold: float
    comparison: Comparison | None
    judged: Judged
    untaught: Judged

    def sent(self, threshold: float) -> list[bool]:
        """Return of what would be sent whether it is right."""
        return [right for confidence, right in self.answers if confidence >= threshold]


def weeks(folder: Path, draw: int, tickets: int) -> Iterator[Round]:
    """Yield each round of a draw."""
    categories, train, test = (
        categories_of(folder),
        inside(read(folder / "train.csv")),
        inside(read(folder / "test.csv")),
    )
    trainer = LocalTrainer(categories, lambda: untaught)
    untaught = fit(categories).to_bytes()
    chance = Random(draw)
    left = chance.sample(train, min(tickets, len(train)))
    tested = chance.sample(test, min(TESTED, len(test)))
    number, weights, comparison, taught = len(left), untaught, None, Labelled()
    at_first = judged(trainer, untaught, tested)
    for verdicts in range(VERDICTS, VERDICTS * ROUNDS + 1, VERDICTS):
        model = fitted_model.Model.from_bytes(weights)
        picked = set(in_order_of_review(model, left, chance)[:VERDICTS])
        taught = [*taught, *(left[n] for n in sorted(picked))]
        left = [ticket for n, ticket in enumerate(left) if n not in picked]
        rows = [dm.Labelled(text, label) for text, label in taught]
        more = trainer.weighed(rows, [text for text, _ in left[:UNLABELLED]])
        settings = shared_settings(trainer, rows, more)
        in_use = InUse(weights, trainer.seen(weights, [row.text for row in rows]), whole=comparison is not None)
        found = compared(trainer, rows, more, settings, in_use, lambda _: None)
        if not found.refusal:
            comparison, weights = found, trainer.fit(rows, more, settings, to_use=True)
        guesses = trainer.answers(weights, [text for text, _ in left])
        answers = [(sure or 0.0, guess == label) for (guess, sure), (_, label) in zip(guesses, left, strict=True)]
        threshold = comparison.sure_from.threshold if comparison else dm.CAUTIOUS_THRESHOLD
        yield Round(verdicts, number, answers, threshold, comparison, judged(trainer, weights, tested), at_first)


def judged(trainer: LocalTrainer, weights: bytes, tested: Labelled) -> Judged:
    guesses = trainer.answers(weights, [text for text, _ in tested])
    losses = trainer.losses(weights, [dm.Labelled(text, label) for text, label in tested])
    return Judged(fmean(guess == label for (guess, _), (_, label) in zip(guesses, tested, strict=True)), fmean(losses))


def told(rounds: Sequence[Round], threshold: float | None) -> str:
    """Return the share sent of all draws, and how much of it is wrong: pooled, and in the worst draw."""
    sent = [each.sent(each.threshold if threshold is None else threshold) for each in rounds]
    wrong = [len(rights) - sum(rights) for rights in sent]
    worst = max(zip(wrong, sent, strict=True), key=lambda pair: pair[0] / max(len(pair[1]), 1))
    share = sum(map(len, sent)) / sum(each.tickets for each in rounds)
    pooled = sum(wrong) / max(sum(map(len, sent)), 1)
    return f"{share:.1%} / {pooled:.1%} ({worst[0] / max(len(worst[1]), 1):.0%} of {len(worst[1])})"


def line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="The first week on labelled sets.")
    parser.add_argument("data", type=Path, help="a folder of sets")
    parser.add_argument("sets", nargs="*", default=SETS, help="names of sets")
    parser.add_argument("--tickets", type=int, default=1_000, metavar="N")
    parser.add_argument("--draws", type=int, default=5, metavar="N")
    asked = parser.parse_args()
    print(line("set", "verdicts", "default", *map(str, FIXED), "never sure", "right, log loss against untaught"))
    print(line(*["---"] * (len(FIXED) + 5)))
    for name in asked.sets:
        drawn = [[*weeks(asked.data / name, draw, asked.tickets)] for draw in range(asked.draws)]
        for rounds in zip(*drawn, strict=True):
            if rounds[0].verdicts in TOLD:
                never = sum(each.threshold >= dm.NEVER for each in rounds)
                right = min(each.judged.right - each.untaught.right for each in rounds)
                loss = max(each.judged.loss - each.untaught.loss for each in rounds)
                cells = (told(rounds, each) for each in (None, *FIXED))
                print(line(name, str(rounds[0].verdicts), *cells, str(never), f"{right:+.3f}, {loss:+.3f}"), flush=True)


if __name__ == "__main__":
    main()
