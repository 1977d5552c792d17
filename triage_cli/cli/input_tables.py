"""Opens the inputs of a command (files, folders, stdin) as tables, and refuses an output file that is an input."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import BinaryIO

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli.context import CommandContext
from triage_cli.cli.saved_imports import ReadingMemory
from triage_cli.cli.ticket_id_input import stdin
from triage_cli.config import is_own
from triage_cli.readers import LONGEST_CELL as LONGEST
from triage_cli.readers import MailFolder, ReadOptions, Table, decoded, listing, open_table
from triage_cli.runtime import open_text
from triage_cli.service import CategoryNames

NamedInput = tuple[str, BinaryIO | MailFolder]
MOST_UNUSED = 12  # columns without a field that are named
PIPE_BYTES = 1 << 16  # that are read at once from a piped input to a temporary file


@contextmanager
def streams(names: Sequence[str] | None) -> Iterator[list[NamedInput]]:
    """Open the named inputs, or stdin without names; stdin at a terminal is an error, so that nobody waits."""
    if names and list(names).count("-") > 1:
        raise dm.UsageError("- is named twice", hint="stdin can be read once")
    inputs: list[NamedInput] = []
    try:
        inputs.extend(("stdin", stdin()) if name == "-" else (name, _open_input(name)) for name in names or ["-"])
        yield inputs
    finally:
        for name, stream in inputs:
            if name != "stdin":
                stream.close()


def _open_input(input_name: str) -> BinaryIO | MailFolder:
    try:
        return MailFolder(Path(input_name)) if Path(input_name).is_dir() else Path(input_name).open("rb")
    except OSError as error:
        is_text = " " in input_name and isinstance(error, FileNotFoundError)
        hint = "a text is typed with triage create --description TEXT" if is_text else "check its name and its rights"
        raise dm.InputError(f"cannot read {input_name}: {error.strerror}", hint=hint) from error


def check_written(context: CommandContext, path: Path | None, option: str, inputs: Iterable[int | str] = ()) -> None:
    """Raise `UsageError` if an output file is stdout, an input too, one of triage's own (a queue), or in no folder."""
    if path == Path("-"):
        raise dm.UsageError("- names no file to write", hint=f"name one with {option}")
    if path is not None and not path.parent.is_dir():
        raise dm.UsageError(f"no folder {path.parent} for {path.name}", hint=f"name another file with {option}")
    if path is not None and is_own(path, context.config):
        problem = f"{path} is a file of triage's own and would be overwritten"
        raise dm.UsageError(problem, hint=f"name another with {option}")
    if path is None or not os.path.isfile(path):  # noqa: PTH113 - Path's raises where a folder is closed to us
        return
    for input_file in inputs:
        if os.path.exists(input_file) and os.path.samestat(path.stat(), os.stat(input_file)):  # noqa: PTH110, PTH116 - or a number
            raise dm.UsageError(f"{path} is read and would be written", hint=f"name another with {option}")


@contextmanager
def written_file(path: Path, option: str) -> Iterator[TextIOWrapper]:
    """Write a file that a user named with an option; a new one only its owner can read.

    Raises `UsageError` if it cannot be written.
    """
    try:
        with open_text(path, "w") as file:
            yield file
    except OSError as error:
        raise dm.UsageError(f"cannot write {path}: {error.strerror}", hint=f"name another with {option}") from error


def write_new(to: Path, text: str, check: Callable[[Path], object] = lambda _: None) -> None:
    """Write a new file of the user's, whole or not at all; one that is there is never touched.

    `check` raises what is wrong with the written text before it has its name. Raises `ConfigError`.
    """
    part = None
    try:
        with NamedTemporaryFile(
            "w", encoding="utf-8", dir=to.absolute().parent, prefix=f".{to.name}.", delete=False
        ) as file:
            part = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        check(part)
        os.link(part, to)
    except FileExistsError as error:
        raise dm.ConfigError(f"{to} exists already", hint="name another path with --to") from error
    except OSError as error:
        raise dm.ConfigError(f"cannot write {to}: {error.strerror}", hint="name another path with --to") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def opened_tables(
    context: CommandContext, inputs: Sequence[NamedInput], read_options: ReadOptions, *, labels: bool = True
) -> list[Table]:
    """Open each input as a table and print its column mapping; the limit is for all inputs together.

    With `labels`, a note tells of a column of labels that is not read.
    """
    input_tables = []
    label_notes = _LabelNotes(context) if labels else lambda _: ()
    read_options = with_kept_mappings(context, read_options)
    row_counts: Counter[str] = Counter()
    for input_name, stream in inputs:
        input_table = open_table(stream, input_name, read_options)
        prefix = f"{input_name}: " if len(inputs) > 1 else ""
        if input_table.taken:
            unused = f"; extra ← {listing(input_table.unused, MOST_UNUSED)}" if input_table.unused else ""
            context.say(f"{prefix}{input_table.taken}{unused}")
        for note in (*input_table.notes, *label_notes(input_table)):
            context.say(f"{prefix}note: {note}")
        if read_options.limit is not None:
            input_table = input_table._replace(rows=_limited(input_table.rows, read_options.limit, row_counts))
        input_tables.append(input_table)
    return input_tables


def with_kept_mappings(context: CommandContext, read_options: ReadOptions) -> ReadOptions:
    """Return the options with the kept mappings of the configuration here, also where a remote stores the tickets.

    The columns that hold labels are those of the questions that tickets are asked there.
    """
    labels = dm.label_columns(context.questions)
    return read_options._replace(kept=tuple(context.config.imports.values()), labels=labels)


class _LabelNotes:
    """Tells of a column of labels that is not read: where most of its values are names of categories."""

    def __init__(self, context: CommandContext) -> None:
        self._context = context

    def __call__(self, input_table: Table) -> Iterator[str]:
        """Yield a note with the option that reads the labels of a table, if it has such a column."""
        if (
            "verdict" in input_table.fields
            or self._context.quiet
            or not (input_table.unused and input_table.first_rows)
        ):
            return
        column = input_table.label_column(self._category_names.match)
        if column is not None and column.isprintable():
            option = shlex.quote(f"verdict={column.strip()}")
            yield f"most of {listing([column])} are names of categories; --map {option} takes them as verdicts"
        elif column is None and not self._context.is_remote and "categories" not in self._context.config.origins:
            from triage_cli.readers import told_by_name  # with its words, for whoever has no categories

            columns = [name if name in input_table.unused else "" for name in input_table.columns]
            if (found := told_by_name(columns, input_table.first_rows)) and found[0].isprintable():
                file = shlex.quote(input_table.name) if input_table.name != "stdin" else "FILE"
                says = f"{listing([found[0]])} says where {found[1]:.0%} of these went"
                yield f"{says}; triage init {file} learns from it"

    @cached_property
    def _category_names(self) -> CategoryNames:
        """Return the categories of the configuration, or of the remote, whose errors are told where it stores."""
        categories: Sequence[dm.Category] = ()
        if not self._context.is_remote:
            categories = self._context.config.categories
        else:
            with suppress(dm.TriageError):
                categories = self._context.triage.categories()
        return CategoryNames(categories)


def _limited(
    table_rows: Iterator[dm.TicketDraft | dm.Rejected], limit: int, row_counts: Counter[str]
) -> Iterator[dm.TicketDraft | dm.Rejected]:
    """Yield rows of a table until the limit of all inputs is reached."""
    for row in islice(table_rows, limit - row_counts["rows"]):
        row_counts["rows"] += 1
        yield row


def looked_through(
    context: CommandContext, named_inputs: Sequence[NamedInput], read_options: ReadOptions, *, pipes: bool = False
) -> list[NamedInput]:
    """Return the inputs, checked for other tickets under known ids, so that this is told before anything is stored.

    With `pipes`, a piped input is copied to a temporary file for the check; else its rows are checked when stored.
    """
    checked_inputs: list[NamedInput] = []
    read_options = with_kept_mappings(context, read_options)
    has_known_ids = not context.is_remote and not wiring.stores.is_empty(context.config)
    for input_name, source in named_inputs:
        if isinstance(source, MailFolder):
            checked_inputs.append((input_name, source))
            continue
        stream = _copy_of_pipe(context, source) if has_known_ids and pipes and not source.seekable() else source
        if has_known_ids and stream.seekable():
            position = stream.tell()
            input_table = open_table(stream, input_name, read_options)
            if not input_table.trusts_ids:
                try:
                    context.local.check(input_table.rows)
                except dm.InputError:
                    ReadingMemory(context, [input_table]).tell()  # which may be why
                    raise
            stream.seek(position)
        checked_inputs.append((input_name, stream))
    return checked_inputs


def _copy_of_pipe(context: CommandContext, stream: BinaryIO) -> BinaryIO:
    """Return a temporary file with the bytes of a piped input."""
    pipe_copy = context.exit_stack.enter_context(TemporaryFile())  # noqa: SIM115 - it is needed until the command ends
    for input_bytes in context.stopper.interruptible(iter(lambda: stream.read(PIPE_BYTES), b"")):
        pipe_copy.write(input_bytes)
    pipe_copy.seek(0)
    return pipe_copy


def piped_text(context: CommandContext) -> str:
    """Return the text on stdin, where an option's value is `-`. Raises `UsageError` at a terminal, `InputError`."""
    stream, pieces, length = stdin(instead="type the text"), [], 0
    for piece in context.stopper.interruptible(iter(lambda: stream.read(PIPE_BYTES), b"")):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST:
            raise dm.InputError(
                f"the text on stdin is longer than {LONGEST:,} bytes", hint="keep the part that matters"
            )
    if context.stopper.code:  # half a text is none
        raise KeyboardInterrupt
    return decoded(b"".join(pieces), "utf-8-sig")


def until_rejected(drafts: Iterable[dm.TicketDraft | dm.Rejected]) -> Iterator[dm.TicketDraft | dm.Rejected]:
    """Yield the drafts of an input's rows up to and including the first rejected row."""
    for draft in drafts:
        yield draft
        if isinstance(draft, dm.Rejected):
            return
