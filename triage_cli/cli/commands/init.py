"""`triage init`: makes a configuration and a model out of an export that says where each ticket went."""

import heapq
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import input_tables, messages, options
from triage_cli.cli.command import local_command, makes_database
from triage_cli.cli.commands import discover
from triage_cli.cli.commands.config import write_starter
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import Printer
from triage_cli.cli.progress import elapsed_line, parts_line
from triage_cli.cli.topic_editor.editing import TopicEditor
from triage_cli.config import learned_configuration, load_config
from triage_cli.readers import LEAST_TICKETS, LabelColumn, candidate_columns, label_column, listing, open_table
from triage_cli.runtime import private

NEWEST = 62_500  # labelled rows that are taken: 50,000 to teach, and a fifth of all to prove
MOST_TRIED = 5  # columns of which it is tried whether texts tell them
MOST_NAMED = 5  # values that a message names
SHARES = (0.05, 0.1)
PERCENTAGE = re.compile(r"(\d{1,2}(?:\.\d{1,4})?) ?%?")


@local_command
@makes_database
def init(
    context: CommandContext,
    files: options.Files = None,
    label: Annotated[
        str | None, option("--label", "COLUMN", "The column that says where tickets went; without it, found.")
    ] = None,
    topics: Annotated[
        int | None,
        option(
            "N",
            "Make at most N topics the categories, where no column says it.",
            min=dm.FEWEST_TOPICS,
            max=dm.MOST_TOPICS,
        ),
    ] = None,
    max_error: Annotated[
        str | None, option("--max-error", "N%", "The share of sure answers that may be wrong; without it, 10%.")
    ] = None,
    to: Annotated[
        Path,
        option(
            "--to", "FILE", "The configuration to write (- without FILE: to stdout); an existing one is never touched."
        ),
    ] = Path("config.yaml"),
    full: Annotated[bool, flag("--full", "Without FILE: every key with what it means, commented out.")] = False,
    yes: Annotated[bool, flag("--yes", "Do not ask first.")] = False,
    output: Annotated[Literal["json"] | None, option("-o", "--output", "FORMAT", "json: what to expect.")] = None,
    *,
    reading: options.FileOptions,
) -> int:
    """Make a configuration and a model out of an export that says where each ticket went.

    The values of a column (group, queue, team, component, category, tag) become the categories. The model learns from
    all but the last fifth of the tickets, and is proven on that: it says which share would be sent, and how much of
    that is wrong. Where no column says it, topics become the categories, and nothing is proven yet. No ticket is
    stored. Without FILE it writes a short configuration.

    \b
    triage init export.csv
    triage init export.csv --label "Assignment group" --max-error 5% --yes
    triage init export.csv --topics 30 --to desk/config.yaml -o json
    """
    _check(context, files, to, {"--label": label, "--topics": topics})
    if files and (full or str(to) == "-"):
        raise dm.UsageError("--full and --to - are for a configuration without an export", hint="leave them out")
    if not files:
        write_starter(context, to, full=full)
        return dm.ExitCode.OK
    share = _share(max_error or "10%")
    with input_tables.streams(files) as streams, elapsed_line("reading", shown=context.guides):
        drafts = _newest_rows(context, streams, reading)
    if context.stopper.code:
        raise KeyboardInterrupt
    asks = not yes and context.can_ask
    column = None if topics else _chosen(context, drafts, label, needed=not asks)
    found = _of_column(drafts, column) if column else _of_topics(context, drafts, topics, edit=asks)
    if asks and not _agreed(context, found, share, to):
        context.say("nothing was written")
        return dm.ExitCode.OK
    made = _made(context, found, share, to)
    if output:
        Printer("json").one(made, lambda _: "", ())
    is_proven = next(each["proven"] for each in made["promises"] if each["max_error"] == share)
    return dm.ExitCode.CHECK_FAILED if max_error and not is_proven else dm.ExitCode.OK


class Found(NamedTuple):
    """What becomes categories, of a column or else of topics: of how many tickets each is, and which have too few."""

    column: str | None
    categories: Sequence[dm.Category]
    tickets: Mapping[str, int]
    left_out: Mapping[str, int]
    history: dm.LabelHistory


def _check(
    context: CommandContext, files: list[str] | None, to: Path, of_export: Mapping[str, str | int | None]
) -> None:
    """Raise `UsageError` or `ConfigError` for what was typed, before anything is read."""
    if context.global_options.remote:
        hint = "that has a configuration of its own: triage learn FILE --label COLUMN teaches there"
        raise dm.UsageError("init writes a configuration here, and flag --remote names a remote", hint=hint)
    for name in files or ():
        if Path(name).suffix in (".yaml", ".yml"):
            hint = f"triage init --to {shlex.quote(name)} writes one there"
            raise dm.UsageError(f"{name} is no export but a configuration", hint=hint)
    typed = [name for name, value in of_export.items() if value is not None]
    if typed and not files:
        raise dm.UsageError(f"{typed[0]} is for an export, and none is named", hint="name it, or - for stdin")
    if len(typed) > 1:
        raise dm.UsageError("categories are of a column or of topics, and both are named", hint="leave one out")
    if files and os.path.lexists(to):
        raise dm.ConfigError(f"{to} exists already", hint="name another path with --to")
    if files and not to.parent.is_dir():
        raise dm.ConfigError(f"no folder {to.parent} for {to.name}", hint="make it, or name another path with --to")


def _share(text: str) -> float:
    match = PERCENTAGE.fullmatch(text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 0.5:
        raise dm.UsageError(f"--max-error {text} is no share above 0% and up to 50%", hint="write --max-error 10%")
    return share


def _newest_rows(
    context: CommandContext, streams: Sequence[input_tables.NamedInput], reading: options.FileOptions
) -> list[dm.TicketDraft]:
    """Return the rows of inputs, oldest first; of very many the newest."""
    newest: list[tuple[str, int, dm.TicketDraft]] = []
    numbers, rejected, read_options = count(), 0, reading.read_options()
    for name, stream in streams:
        table = open_table(stream, name, read_options)
        context.say(table.taken)
        for note in table.notes:
            context.say(f"note: {note}")
        for row in context.stopper.interruptible(table.rows):
            if isinstance(row, dm.Rejected):
                rejected += 1
                continue
            entry = (row.created_at or "", next(numbers), row)
            if len(newest) < NEWEST:
                heapq.heappush(newest, entry)
            else:
                heapq.heappushpop(newest, entry)
        for remark in messages.remarks([table]):
            context.say(remark)
    number = next(numbers)
    if rejected:
        context.say(f"note: {messages.plural(rejected, 'rows')} could not be read and are left out")
    if number > len(newest):
        context.say(f"note: of {number:,} rows the newest {len(newest):,} are taken")
    return [row for _, _, row in sorted(newest)]


def _chosen(
    context: CommandContext, drafts: Sequence[dm.TicketDraft], label: str | None, *, needed: bool
) -> LabelColumn | None:
    """Return the column that says where tickets went. Raises `UsageError` if one is `needed` and none can be used."""
    cells = [row.extra for row in drafts]
    if label is not None:
        names = {name for row in cells for name in row}
        if label not in names:
            hint = f"the columns without a field are {listing(sorted(names))}" if names else "there is no such column"
            raise dm.UsageError(f'no column "{label}"', hint=hint)
        column = label_column(label, cells)
        if column.objection:
            raise dm.UsageError(f"{label} cannot say where tickets went: {column.objection}", hint="name another one")
        return column
    candidates = list(candidate_columns(cells))
    usable = [column for column in candidates if not column.objection][:MOST_TRIED]
    with elapsed_line("looking for the column", shown=context.guides):
        told = [column for column in usable if _is_told(column, drafts)]
    for column in candidates:
        why = column.objection or ("" if column in told else "its texts do not tell its values")
        about = f"{len(column.names):,} categories, {column.empty:,} rows without one"
        context.say(f"column {column.name}: {why or about}")
    if told:
        return told[0]
    problem = "no column says where the tickets went in a way that their texts tell"
    if needed:
        hint = f"--label COLUMN names one, and --topics {dm.USUAL_TOPICS} makes categories of topics"
        raise dm.UsageError(problem, hint=hint)
    context.say(f"{problem}: topics are to be the categories")
    return None


def _is_told(column: LabelColumn, drafts: Sequence[dm.TicketDraft]) -> bool:
    names = {*column.names}
    pairs = [(row.text, value) for row in drafts if (value := column.label_of(row.extra.get(column.name))) in names]
    return wiring.first_models.is_told(pairs)


def _of_column(drafts: Sequence[dm.TicketDraft], column: LabelColumn) -> Found:
    rows = [
        dm.labelled_draft(dm.identify(row), value, "history")
        for row in drafts
        if (value := column.label_of(row.extra.get(column.name)))
    ]
    names = column.names
    return Found(
        column.name,
        column.categories,
        {name: column.counts[name] for name in names},
        {name: number for name, number in column.counts.items() if name not in names},
        dm.split_history(rows, names),
    )


def _of_topics(context: CommandContext, drafts: Sequence[dm.TicketDraft], most: int | None, *, edit: bool) -> Found:
    """Return the topics of tickets, as a person edits them, with their most typical texts."""
    texts = [dm.TopicText(row.text, row.customer_id or "") for row in drafts]
    with elapsed_line("comparing", shown=context.guides):
        proposal = wiring.discover((), texts, dm.Discovery(most or dm.USUAL_TOPICS))
    context.say(discover.coverage(proposal))
    editor = TopicEditor.of_proposal(proposal)
    if discover.edit_topics(context, editor, edit=edit):
        raise KeyboardInterrupt
    rows = [dm.Labelled(text, name, is_typical=True) for text, name in editor.labels()]
    tickets = {each.category: each.tickets or 0 for each in editor.topics}
    return Found(None, editor.categories(), tickets, {}, dm.LabelHistory(tuple(rows), by_time=False))


def _agreed(context: CommandContext, found: Found, share: float, to: Path) -> bool:
    number, proving = len(found.history.rows), found.history.proving
    of = messages.plural(len(found.tickets), "categories")
    messages.say(f"{found.column or 'what was found'} has {of}: {listing(list(found.tickets), 12)}")
    prove = f"learn from {number - proving:,} tickets, prove on {proving:,} that at most {dm.in_percent(share)}"
    messages.say(
        f"{prove} of what is sent is wrong, and write {to}"
        if proving
        else f"learn from {number:,} typical texts, which prove nothing, and write {to}"
    )
    return context.agrees("this takes a minute or a few")


def _made(context: CommandContext, found: Found, share: float, to: Path) -> dict[str, Any]:
    """Learn, prove, and write the configuration at the end; return what to expect."""
    percent = dm.in_percent(share)
    typed = context.global_options.db or os.environ.get("TRIAGE_DB")
    folder = to.absolute().parent
    with TemporaryDirectory(prefix="triage-") as temporary:
        draft = Path(temporary) / "config.yaml"
        with open(draft, "w", encoding="utf-8", opener=private) as file:
            file.write(learned_configuration(found.categories, found.column, percent, database=None))
        database = wiring.first_models.free_database(draft, folder, typed)
        config = load_config(config=str(draft), db=database, env={}, cwd=folder)
        analyst = wiring.Analyst(*context.signature, context.say, messages.say, context.runs.append)
        analysis = wiring.LocalAnalysis(config, analyst, make=True)
        context.stopper.watch(analysis.stop)
        with parts_line("learning", shown=context.guides) as tell_progress:
            (lesson, *_) = analysis.learn(found.history.rows, tell_progress)
        expected = wiring.first_models.expected(config, sorted({*SHARES, share}))
    if context.stopper.code:
        raise KeyboardInterrupt
    promised = next(each for each in expected.promises if each.max_error == share)
    missing = 0 if promised.proven else promised.missing
    named = None if typed else Path(database).name
    text = learned_configuration(found.categories, found.column, percent, database=named, missing=missing)
    input_tables.write_new(to, text)
    made = _record(found, lesson, expected, to, database)
    for line in _lines(made):
        context.say(line)
    if named not in (None, "triage.db"):
        context.say(f"note: triage.db there is of other categories, so the new database is {named}")
    return made


def _record(found: Found, lesson: dm.Lesson, expected: dm.Expectation, to: Path, database: str) -> dict[str, Any]:
    confused = expected.confused
    return {
        "column": found.column,
        "categories": found.tickets,
        "left_out": found.left_out,
        "teaching": lesson.report.labelled,
        "proving": found.history.proving,
        "by_time": found.history.by_time,
        "promises": [each._asdict() for each in expected.promises],
        "suspects": expected.suspects,
        "confused": confused and {key: getattr(confused, key) for key in ("label", "guess", "n", "share")},
        "reason": lesson.report.reason,
        "version": lesson.report.version,
        "config": str(to),
        "database": database,
    }


def _lines(made: dict[str, Any]) -> Iterator[str]:
    """Yield what to expect, in four lines."""
    left_out = listing(list(made["left_out"]), MOST_NAMED)
    few = f"; left out with fewer than {LEAST_TICKETS} tickets: {left_out}" if left_out else ""
    categories = f"{messages.plural(len(made['categories']), 'categories')} of {made['column'] or 'topics'}"
    yield f"{categories}, learned from {made['teaching']:,} tickets{few}"
    how = "the last fifth" if made["by_time"] else "a fifth by chance, since few rows have a date"
    proven = "; ".join(map(_promise, made["promises"]))
    if not made["version"]:
        yield f"nothing is proven: {made['reason']}"
    else:
        yield f"on {made['proving']:,} others ({how}): {proven}" if made["proving"] else f"{made['reason']}; {proven}"
    if confused := made["confused"]:
        share = f"{confused['n']:,} of {confused['label']} look like {confused['guess']} ({confused['share']:.0%})"
        yield f"confused most: {share}; {messages.plural(made['suspects'], 'labels look', 'label looks')} wrong"
    yield f"wrote {made['config']}; next: triage run NEXT.csv --dry-run"


def _promise(promise: dict[str, Any]) -> str:
    percent = dm.in_percent(promise["max_error"])
    if not promise["proven"]:
        return f"nothing is proven at {percent} wrong, at least {promise['missing']:,} labels are missing"
    return f"at {percent} wrong {promise['sent']:.0%} would be sent, {promise['wrong']:.1%} of it wrong"
