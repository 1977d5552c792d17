"""`triage eval --adversarial`: how many labels the writer of a ticket could steer, for each classifier."""

from collections.abc import Sequence
from typing import Any

from triage_cli import adversarial, wiring
from triage_cli.cli import inputs, printing
from triage_cli.cli.printing import Printer
from triage_cli.cli.session import Session

COLUMNS = ("classifier", "honest", "right", "tries", "steered", "sure", "unseen", "failed", "by_kind")


def attack(session: Session, names: Sequence[str] | None, output: printing.Format | None) -> int:
    """Try the shipped attacks on classifiers and print one record each; no ticket is stored."""
    for name in names or ():
        inputs.plan(session, name, None, None, "2m")  # an unknown one is told before any is asked
    told = []
    for name in names or [session.config.classifier]:
        steering = wiring.attack(session.config, name, session.say)
        told.append(adversarial.record(steering))
        session.say(
            f"{name}: right on {steering.right} of {steering.honest} honest tickets; {steering.steered} of "
            f"{steering.tries} attacks steered the label, {steering.sure} of them above the threshold, "
            f"{steering.unseen} of these without being held for review"
        )
    Printer(output).many(told, lambda record: record, COLUMNS, _table, "classifier", rows=len(told))
    return 0


def _table(records: Sequence[Any]) -> object:
    from triage_cli.cli import tables

    return tables.of(COLUMNS[:-1])(records)
