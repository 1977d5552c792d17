"""`triage learn`: fits the embedded classifier to verdicts and labelled files, and uses it if it is better."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import labelled_files, messages
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.domain.errors import UsageError
from triage_cli.service.learning.second_look import Looked
from triage_cli.service.learning.training_run import TrainingReport

COLUMNS = TrainingReport._fields
NAMED = 5


@command
def learn(
    session: CommandContext,
    file: labelled_files.File = None,
    label: labelled_files.Label = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the version before the one in use.")] = False,
    *,
    printing: PrintOptions,
) -> None:
    """Fit the embedded classifier to verdicts and a labelled file; use it if it is better on held-out tickets.

    The version in use then decides again about undelivered tickets that embedded classifiers decided: a ticket waits
    for a person if the version is not sure, and no longer waits if it is.

    \b
    triage learn
    triage learn labelled.csv --label team
    triage learn --rollback
    """
    if rollback and file:
        raise UsageError("--rollback takes no file", hint="leave one of them out")
    labelled_files.check(file, label)
    printer = printing.printer(quiet=session.quiet)
    printer.check_columns(COLUMNS)
    session.require_database()
    training_run = wiring.learning_runs.training_run(
        session.config, *session.signature, session.say, session.runs.append, messages.say
    )
    unmeasured: list[str] = []
    if rollback:
        lesson = training_run.roll_back()
    else:
        material = training_run.material(labelled_files.read(session, file, label) if file else ())
        labelled_files.note_skipped(session, material)
        if material.overruled:
            two = messages.plural(len(material.overruled), "texts have two labels", "text has two labels")
            session.say(f"note: {two}: triage suspects{' FILE' if file else ''} shows them")
        with elapsed_line("learning", shown=session.guides):
            lesson = training_run.learn(material)
        labels = {row.category for row in material.rows}
        unmeasured = [category.name for category in session.config.categories if category.name not in labels]
    printer.one(record(lesson), drawn_by("eval_tables.lesson"), COLUMNS, "version")
    for line in summary(lesson):
        session.say(line)
    if unmeasured and lesson.after:
        session.say(f"note: no labelled ticket is {_some(unmeasured)}, so this says nothing about such tickets")
    if session.guides:
        session.say(next_step(lesson))


def next_step(lesson: TrainingReport) -> str:
    """Return what to do after learning, or nothing."""
    if lesson.outcome == "kept" and lesson.after is None:
        return "next: give verdicts in triage review, or name a labelled file: triage learn FILE"
    looked = lesson.looked or Looked()
    commands = {"triage route": looked.settled + looked.flipped, "triage review": looked.doubted + looked.waiting}
    steps = "; ".join(command for command, number in commands.items() if number)
    return f"next: {steps}" if steps else ""


def _some(names: list[str]) -> str:
    others = f" or {len(names) - NAMED:,} others" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{others}"


def record(lesson: TrainingReport) -> dict[str, Any]:
    """Return the record of the result of learning."""
    parts = {name: getattr(lesson, name) for name in ("before", "after", "looked")}
    figures = {name: None if part is None else part._asdict() for name, part in parts.items()}
    return lesson._asdict() | figures


def summary(lesson: TrainingReport) -> Iterator[str]:
    """Yield a line about the version in use and the reason, and one about the changes of its second look."""
    in_use = f"version {lesson.version}" if lesson.version else "the built-in model"
    if lesson.outcome == "rolled_back":
        yield lesson.reason
    elif lesson.outcome == "learned":
        more = f" and, at weight {lesson.unlabelled_weight:g}, from {lesson.unlabelled:,} without a label"
        taught = f"{lesson.labelled:,}{more if lesson.unlabelled else ''}"
        yield f"{in_use} is in use: {lesson.reason} held-out tickets, learned from {taught}"
    else:
        yield f"{in_use} stays in use: {lesson.reason}"
    if lesson.looked is not None:
        yield _seen_again(lesson.looked)


def _seen_again(looked: Looked) -> str:
    """Return a line about the changes of a second look."""
    counts = (
        (looked.doubted, "doubted, which wait for a person now", "doubted, which waits for a person now"),
        (looked.settled, "no longer wait", "no longer waits"),
        (looked.flipped, "got another category", None),
        (looked.held, "held by another run", None),
    )
    changes = [f"{number:,} {one if one and number == 1 else many}" for number, many, one in counts if number]
    return f"it looked again at {messages.plural(looked.tickets, 'tickets')}: {', '.join(changes) or 'nothing changed'}"
