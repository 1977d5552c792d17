"""`triage categories`: which categories do not work, with what a change would gain; writes a changed configuration."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from triage_cli import domain as dm
from triage_cli.cli import input_tables, labelled_files, messages, options
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import option
from triage_cli.cli.output import Printer, drawn_by
from triage_cli.cli.progress import parts_line
from triage_cli.config import changed_categories, load_config, with_changes

MANY_FAR = 0.05  # of the newest tickets, near no category: of labelled texts a hundredth is
CHANGES_TABLE = drawn_by("eval_tables.category_changes")


@remote_command
def categories(
    context: CommandContext,
    labels: Annotated[
        str | None, option("--labels", "FILE|-", "Labelled tickets that are not stored; verdicts count too.")
    ] = None,
    label: labelled_files.Label = None,
    question: options.QuestionName = dm.CATEGORY,
    apply: Annotated[
        str | None, option("--apply", "N,…", "Write a configuration with the proposals of these numbers, to --to.")
    ] = None,
    to: Annotated[
        Path | None, option("--to", "NEW.yaml", "The configuration to write; an existing one is never touched.")
    ] = None,
    output: Annotated[
        Literal["table", "json", "html"], option("-o", "--output", "FORMAT", "html: a page without scripts.")
    ] = "table",
) -> None:
    """Find categories that do not work, and tell what it would gain to merge, split, drop or sharpen them.

    It goes by verdicts and other labels, and changes nothing. A gain is the share of tickets that more would be sent,
    at what the configuration promises, else at 10% wrong, with its 95% interval.

    \b
    triage categories
    triage categories --labels labelled.csv --label team -o html > categories.html
    triage categories --apply 1,3 --to new.yaml
    triage plan new.yaml
    """
    labelled_files.check(labels, label)
    numbers = _numbers(context, apply, to)
    context.note_missing_database()
    context.lend_database()
    rows = labelled_files.read(context, labels, label, question) if labels else []
    with parts_line("comparing", shown=context.guides) as tell_progress:
        report = context.analysis.category_changes(rows, tell_progress, question)
    labelled_files.note_skipped(context, report.counts, question)
    if apply is not None and to is not None:
        _apply(context, report, numbers, to, question)
        return
    printer, record = Printer("json" if output == "json" else "table"), dm.as_record(report)
    summary = _summary(context, report, question)
    if output == "html":
        from triage_cli.cli.display.html_reports import categories_page

        printer.write(categories_page(report, summary))
    elif output == "json":
        printer.one(record, CHANGES_TABLE, ())
    else:
        printer.all_of(record["changes"], dm.CategoryChange._fields, CHANGES_TABLE)
    printer.flush()
    for line in summary:
        context.say(line)


def _numbers(context: CommandContext, apply: str | None, to: Path | None) -> list[int]:
    """Return the numbers of --apply. Raises `UsageError` before anything is measured."""
    if (apply is None) != (to is None):
        missing, given = ("--to", "--apply") if to is None else ("--apply", "--to")
        raise dm.UsageError(f"{given} goes with {missing}", hint="write --apply 1,3 --to new.yaml")
    if apply is None or to is None:
        return []
    if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", apply):
        raise dm.UsageError(f"--apply {apply} is no list of numbers", hint="write --apply 1,3")
    if context.is_remote:
        raise dm.UsageError("--apply changes a configuration here, and the remote has its own", hint="apply it there")
    path = context.config.path
    if path is not None and to.absolute().parent.resolve() != path.absolute().parent.resolve():
        hint = f"write it there: --to {path.parent / to.name}"
        raise dm.UsageError(f"relative paths of {path} would mean others in the folder of {to}", hint=hint)
    if os.path.lexists(to):
        raise dm.ConfigError(f"{to} exists already", hint="name another path with --to")
    return [int(number) for number in apply.split(",")]


def _apply(context: CommandContext, report: dm.CategoryReport, numbers: Sequence[int], to: Path, question: str) -> None:
    """Write a new configuration with these proposals; the rest of the file, with its comments, stays as it is."""
    if unknown := next((number for number in numbers if number > len(report.changes)), 0):
        raise dm.UsageError(f"there is no proposal {unknown}", hint="triage categories lists them")
    chosen, config = [report.changes[number - 1] for number in dict.fromkeys(numbers)], context.config
    values = config.question(question).values
    changed = changed_categories(values, chosen)
    text = "" if config.path is None else config.path.read_text(encoding="utf-8-sig")
    wanted = [each.name for value in values for each in changed.get(value.name, [value])]

    def check(path: Path) -> None:
        """Raise `ConfigError` unless the written configuration has the categories that it is to have."""
        try:
            new = load_config(config=str(path), db=config.database, env=os.environ, cwd=Path.cwd())
        except dm.ConfigError as error:
            mistakes = (
                ("; ".join(error.problems) or error.message).replace(str(path), to.name).replace(path.name, to.name)
            )
            raise dm.ConfigError(f"{to} would have a mistake: {mistakes}", hint="edit the file by hand") from error
        if [value.name for value in new.question(question).values] != wanted:
            raise dm.ConfigError(
                f"the list of {config.path} is not written so that it can be edited", hint="one a line"
            )

    input_tables.write_new(to, with_changes(text, values, changed, question), check)
    for change in chosen:
        context.say(f"{dm.change_words(change)}: {_cost(change)}")
    context.say(f"wrote {to}; next: triage plan {to}")


def _cost(change: dm.CategoryChange) -> str:
    """Say what a change costs those who decide and deliver."""
    place = f"{messages.plural(change.tickets, 'tickets')} change place" if change.tickets else ""
    if change.kind is dm.ChangeKind.MERGE:
        decisions = f"people contradict each other about {change.disagreeing:,}" if change.disagreeing else ""
    else:
        decisions = f"{messages.plural(change.disagreeing, 'verdicts')} to give again" if change.disagreeing else ""
    together = f"goes to {', '.join(change.destinations)} now" if change.destinations else ""
    return messages.joined(*filter(None, (place, decisions, together))) if place or decisions or together else "no cost"


def _summary(context: CommandContext, report: dm.CategoryReport, question: str) -> list[str]:
    """Return what the proposals were measured on, and what to do next."""
    one_of, number = dm.one_of(question), report.counts.total
    if report.missing:
        needed = f"at least {dm.LABELS_NEEDED}, and {dm.LABELS_PER_CATEGORY} for each {one_of}"
        return [f"{number:,} labels are too few to judge the list: {report.missing:,} are missing ({needed})"]
    at = f"{dm.in_percent(report.max_error)} wrong, {'as promised' if report.promised else 'which nobody has promised'}"
    lines = [f"of {report.held_out:,} held-out answers {report.sent:.1%} would be sent at {at}"]
    if report.sampled < number:
        lines.append(f"this is about a sample of {report.sampled:,} of {number:,} labels")
    if report.far > MANY_FAR * report.looked_at:
        far = f"{report.far:,} of the {report.looked_at:,} newest tickets are near no {one_of}"
        lines.append(f"{far}; next: triage discover")
    if report.changes and not context.is_remote:
        about = "" if question == dm.CATEGORY else f" --question {question}"
        lines.append(f"next: triage categories{about} --apply 1 --to new.yaml, which changes nothing by itself")
    return lines if report.changes else [*lines, "no change would gain enough to be proposed"]
