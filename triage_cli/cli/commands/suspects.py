"""`triage suspects`: labels that several answers contradict, and categories that are confused."""

from triage_cli import wiring
from triage_cli.cli import labelled_files, options
from triage_cli.cli.command import command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line
from triage_cli.domain import to_json
from triage_cli.service import LEAST_LABELLED, too_few

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
