"""`triage learn`: fits the embedded classifier to verdicts and labelled files, and uses it if it is better.

`triage suspects`: labels that several answers contradict, and categories that are confused.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from triage_cli import wiring
from triage_cli.cli import labelled_files, messages, options
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line, parts_line
from triage_cli.domain import UsageError, to_json
from triage_cli.service import LEAST_LABELLED, Looked, TrainingReport, too_few

LEARN_COLUMNS = TrainingReport._fields
MOST_UNMEASURED = 5  # the most categories that a note names


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
    printer.check_columns(LEARN_COLUMNS)
    session.require_database()
    training_run = wiring.learning_runs.training_run(
        session.config, *session.signature, session.say, session.runs.append, messages.say
    )
    unmeasured: list[str] = []
    if rollback:
        training_report = training_run.roll_back()
    else:
        training_material = training_run.training_data(labelled_files.read(session, file, label) if file else ())
        labelled_files.note_skipped(session, training_material)
        if training_material.overruled:
            overruled = messages.plural(
                len(training_material.overruled), "texts have two labels", "text has two labels"
            )
            session.say(f"note: {overruled}: triage suspects{' FILE' if file else ''} shows them")
        with parts_line("learning", shown=session.guides) as tell_progress:
            training_report = training_run.learn(training_material, tell_progress)
        labelled_categories = {row.category for row in training_material.rows}
        names = [category.name for category in session.config.categories]
        unmeasured = [name for name in names if name not in labelled_categories]
    printer.one(learning_record(training_report), drawn_by("eval_tables.lesson"), LEARN_COLUMNS, "version")
    for line in learning_summary(training_report):
        session.say(line)
    if unmeasured and training_report.after:
        unlearned = f"no labelled ticket is {_some_categories(unmeasured)}"
        session.say(f"note: {unlearned}, so this says nothing about such tickets")
    if session.guides:
        session.say(step_after_learning(training_report))


def step_after_learning(training_report: TrainingReport) -> str:
    """Return what to do after `triage learn`, or nothing."""
    if training_report.outcome == "kept" and training_report.after is None:
        return "next: give verdicts in triage review, or name a labelled file: triage learn FILE"
    second_look = training_report.looked or Looked()
    next_commands = {
        "triage route": second_look.settled + second_look.flipped,
        "triage review": second_look.doubted + second_look.waiting,
    }
    next_steps = "; ".join(command for command, number in next_commands.items() if number)
    return f"next: {next_steps}" if next_steps else ""


def _some_categories(category_names: list[str]) -> str:
    others = len(category_names) - MOST_UNMEASURED
    other_categories = f" or {others:,} others" if others > 0 else ""
    return f"{', '.join(category_names[:MOST_UNMEASURED])}{other_categories}"


def learning_record(training_report: TrainingReport) -> dict[str, Any]:
    """Return the record of a training report, for output."""
    report_parts = {name: getattr(training_report, name) for name in ("before", "after", "looked")}
    part_records = {name: None if part is None else part._asdict() for name, part in report_parts.items()}
    return training_report._asdict() | part_records


def learning_summary(training_report: TrainingReport) -> Iterator[str]:
    """Yield a line about the version in use and the reason, and one about the changes of its second look."""
    in_use = f"version {training_report.version}" if training_report.version else "the built-in model"
    if training_report.outcome == "rolled_back":
        yield training_report.reason
    elif training_report.outcome == "learned":
        weight, unlabelled = training_report.unlabelled_weight, training_report.unlabelled
        and_unlabelled = f" and, at weight {weight:g}, from {unlabelled:,} without a label" if unlabelled else ""
        learned_from = f"{training_report.labelled:,}{and_unlabelled}"
        yield f"{in_use} is in use: {training_report.reason} held-out tickets, learned from {learned_from}"
    else:
        yield f"{in_use} stays in use: {training_report.reason}"
    if training_report.looked is not None:
        yield _second_look_line(training_report.looked)


def _second_look_line(second_look: Looked) -> str:
    """Return a line about the changes of a second look."""
    look_counts = (
        (second_look.doubted, "doubted, which wait for a person now", "doubted, which waits for a person now"),
        (second_look.settled, "no longer wait", "no longer waits"),
        (second_look.flipped, "got another category", None),
        (second_look.held, "held by another run", None),
    )
    look_changes = [f"{number:,} {one if one and number == 1 else many}" for number, many, one in look_counts if number]
    looked_at = messages.plural(second_look.tickets, "tickets")
    return f"it looked again at {looked_at}: {', '.join(look_changes) or 'nothing changed'}"


SUSPECT_COLUMNS = ("ticket_id", "label", "suggestion", "confidence", "against", "voices", "text")
MOST_CONFUSED_PAIRS = 8


@command
def suspects(
    session: CommandContext,
    file: labelled_files.File = None,
    label: labelled_files.Label = None,
    limit: options.Limit = None,
    *,
    printing: PrintOptions,
) -> None:
    """Find labels that a model fitted to the others and stored answers contradict, and categories that are confused.

    \b
    triage suspects
    triage suspects labelled.csv -o csv > to_check.csv
    """
    labelled_files.check(file, label)
    printer = printing.printer()
    printer.check_columns(SUSPECT_COLUMNS)
    session.note_missing_database()  # without the use cases, which would make a signal wait for the whole comparison
    session.lend_database()
    training_run = wiring.learning_runs.training_run(session.config, *session.signature, session.say)
    labelled_material = training_run.training_data(labelled_files.read(session, file, label) if file else ())
    with elapsed_line("comparing the labels", shown=session.guides):
        suspect_labels, confused_pairs = training_run.suspects(labelled_material)
    labelled_files.note_skipped(session, labelled_material)
    suspect_records = [
        suspect._asdict() | {"ticket_id": suspect.ticket_id or None, "voices": dict(suspect.voices)}
        for suspect in suspect_labels[:limit]
    ]
    printer.all_of(suspect_records, SUSPECT_COLUMNS, drawn_by("eval_tables.suspects"))
    labels_needed = LEAST_LABELLED if len(labelled_material.rows) < LEAST_LABELLED else "two categories"
    too_few_note = f"; it takes {labels_needed} to doubt any of them" if too_few(labelled_material.rows) else ""
    are = "is" if len(suspect_labels) == 1 else "are"
    session.say(f"{len(suspect_labels):,} of {len(labelled_material.rows):,} labels {are} suspect{too_few_note}")
    for pair in confused_pairs[:MOST_CONFUSED_PAIRS]:
        session.say(f"{pair.n} of {pair.label} look like {pair.guess} ({pair.share:.0%}); their descriptions:")
        for name, description in zip((pair.label, pair.guess), pair.descriptions, strict=True):
            session.say(f"  {name}: {to_json(description) if description else '(none)'}")
