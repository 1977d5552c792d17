"""`triage learn`: the embedded classifier learns from verdicts and labelled files, where that makes it better."""

from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import labelled_files, messages
from triage_cli.cli.context import CommandContext, command
from triage_cli.cli.output import Columns, Output, Printer
from triage_cli.domain.errors import UsageError
from triage_cli.service.learning.train import TrainingReport

COLUMNS = ("version", "outcome", "reason", "labelled", "from_verdicts", "skipped", "contradictory", "before", "after")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("learn")(learn)


@command
def learn(
    session: CommandContext,
    file: labelled_files.File = None,
    label: labelled_files.Label = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Use the version before the one in use.")] = False,
    output: Output = None,
    columns: Columns = None,
) -> None:
    """Fit the embedded classifier to verdicts and a labelled file, and use it if it is better on held-out tickets.

    \b
    triage learn
    triage learn labelled.csv --label team
    triage learn --rollback
    """
    if rollback and file:
        raise UsageError("--rollback takes no file", hint="leave one of them away")
    printer = Printer(output, columns, quiet=session.quiet)
    printer.check_columns(COLUMNS)
    session.require_database()
    learning = wiring.learning(session.config, *session.signature, session.say)
    if rollback:
        lesson = learning.roll_back()
    else:
        material = learning.material(labelled_files.read(session, file, label) if file else ())
        if material.skipped:
            names = ", ".join(f"{name} ({n})" for name, n in material.skipped.most_common(5))
            left = messages.plural(
                material.skipped.total(),
                "labels are no category and are left out",
                "label is no category and is left out",
            )
            session.say(f"note: {left}: {names}")
        if material.contradictory:
            two = messages.plural(material.contradictory, "texts have two labels", "text has two labels")
            session.say(f"note: {two}: triage suspects looks closer")
        lesson = learning.learn(material)
    printer.one(record(lesson), _table, COLUMNS, "version")
    session.say(_summary(lesson))
    if session.guides and lesson.outcome == "learned":
        session.say("next: triage reclassify --status needs_review --apply (asks again about those that wait)")


def record(lesson: TrainingReport) -> dict[str, Any]:
    """Return the record of a lesson."""
    return lesson._asdict() | {
        name: None if found is None else found._asdict() | {"interval": list(found.interval)}
        for name, found in (("before", lesson.before), ("after", lesson.after))
    }


def _summary(lesson: TrainingReport) -> str:
    in_use = f"version {lesson.version}" if lesson.version else "the built-in model"
    if lesson.outcome == "rolled_back":
        return lesson.reason
    if lesson.outcome == "learned":
        return f"{in_use} is in use: {lesson.reason} held-out tickets, learned from {lesson.labelled:,}"
    return f"{in_use} stays in use: {lesson.reason}"


def _table(records: Any) -> object:
    from triage_cli.cli import eval_tables

    return eval_tables.lesson(records[0])
