"""`triage eval --adversarial`: how many labels the writer of a ticket could steer, for each classifier."""

import sys
from collections.abc import Mapping, Sequence

from triage_cli import wiring
from triage_cli.cli import messages
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import Printer, drawn_by
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.errors import TriageError, UsageError
from triage_cli.domain.exit_codes import ExitCode
from triage_cli.service.learning import attacks
from triage_cli.service.learning.attacks import Steering

COLUMNS = ("classifier", "honest", "right", "tries", "steered", "sure", "unseen", "failed", "by_kind")


def check(given: Mapping[str, object]) -> None:
    """Raise `UsageError` for what is about labelled tickets: the attacks are tried on tickets of their own."""
    if wrong := [name for name, value in given.items() if value is not None and value is not False]:
        raise UsageError(
            f"--adversarial tries shipped attacks on shipped tickets, so {wrong[0]} means nothing beside it",
            hint=f"leave out {' and '.join(wrong)}, or --adversarial",
        )


def attack(session: CommandContext, plans: Sequence[ClassifyPlan], printer: Printer) -> int:
    """Try the shipped attacks on classifiers and print one record each; no ticket is stored."""
    printer.check_columns(COLUMNS)
    evaluating = wiring.diagnostics.evaluating(session.config, *session.signature, session.say)
    session.stopper.watch(evaluating.allowance.stop)
    results: list[Steering] = []
    stopped: TriageError | None = None
    for plan in plans:
        attack_result = evaluating.attack(plan)
        stopped = attack_result.stopped
        results += [attack_result.steering] if attack_result.steering.tries else []
        if stopped is not None or evaluating.allowance.stopping:
            break
    for one in results:
        session.say(
            f"{one.classifier}: right on {one.right} of {one.honest} honest tickets; {one.steered} of {one.tries} "
            f"attacks steered the label, {one.sure} of them above the threshold, {one.unseen} of these without being "
            "held for review"
        )
    table = drawn_by("tables.plain", columns=COLUMNS[:-1])
    printer.many(results, attacks.record, COLUMNS, table, "classifier", rows=len(results))
    if stopped is not None:
        messages.error(stopped, sys.argv[1:])
    return ExitCode.OK if stopped is None else stopped.exit_code
