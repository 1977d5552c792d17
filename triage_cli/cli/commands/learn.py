"""`triage learn`: fits the embedded classifier to verdicts and labelled files, and uses it if it is better.

`triage suspects`: labels that several answers contradict, and categories that are confused.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from triage_cli import domain as dm
from triage_cli.cli import labelled_files, messages, options, summaries
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line, parts_line
from triage_cli.service import LEAST_LABELLED

LEARN_COLUMNS = dm.TrainingReport._fields
HARD_VERDICTS = (
    "note: triage review asks about hard tickets first, so of all tickets more are likely right than of these; "
    "triage eval FILE measures that, on tickets drawn at random"
)
MOST_UNMEASURED = 5  # the most categories that a note names


@remote_command
def learn(
    context: CommandContext,
    file: labelled_files.File = None,
    label: labelled_files.Label = None,
    rollback: Annotated[bool, flag("--rollback", "Take back what the last learn has learned.")] = False,
    question: Annotated[
        str | None, option("--question", "NAME", "Learn this question alone; without it, each that has labels.")
    ] = None,
    teacher: Annotated[
        str | None, option("--teacher", "NAME", "Have this classifier label stored tickets first, once.")
    ] = None,
    texts: Annotated[int, option("--texts", "N", "So many texts for the teacher, at most.", min=1, max=2000)] = 500,
    max_cost: options.MaxCost = None,
    *,
    printing: PrintOptions,
) -> int:
    """Fit the embedded classifier to verdicts and a labelled file; use it if it is better on held-out tickets.

    Each question is learned by itself. The labels of a file are categories, or answers to --question.

    The version in use then decides again about undelivered tickets that embedded classifiers decided: a ticket waits
    for a person if the version is not sure, and no longer waits if it is.

    \b
    triage learn
    triage learn labelled.csv --label team
    triage learn labelled.csv --question urgency
    triage learn --teacher gpt --max-cost 2
    triage learn --rollback
    """
    _check_options(max_cost, rollback=rollback, besides={"file": file, "question": question, "teacher": teacher})
    labelled_files.check(file, label)
    printer = printing.printer(LEARN_COLUMNS, quiet=context.quiet)
    if file:
        context.make_database()  # a first model may be there before the first ticket
    context.require_database()
    codes = {dm.ExitCode.OK}
    if teacher:
        codes.add(_teach(context, dm.ClassifyPlan(teacher, max_cost=max_cost), texts, question or dm.CATEGORY))
    if rollback:
        lessons = [dm.Lesson(dm.CATEGORY, dm.LabelCounts({}, {}, 0), context.analysis.roll_back())]
    else:
        rows = labelled_files.read(context, file, label, question or dm.CATEGORY) if file else []
        with parts_line("learning", shown=context.guides) as tell_progress:
            lessons = context.analysis.learn(rows, tell_progress, question)
        for lesson in lessons:
            _note_labels(context, lesson, file)
    printer.one(dm.lesson_record(lessons), drawn_by("eval_tables.lesson"), LEARN_COLUMNS, "version")
    for line in summaries.lessons_summary(lessons):
        context.say(line)
    _say_measured(context, lessons)
    if context.guides:
        context.say(summaries.step_after_learning(lessons[0].report, lambda: summaries.step_to_routing(context)))
    return dm.gravest(codes)


def _check_options(max_cost: float | None, *, rollback: bool, besides: Mapping[str, object]) -> None:
    if rollback and (other := next((name for name, value in besides.items() if value), None)):
        raise dm.UsageError(f"--rollback takes no {other}", hint="leave one of them out")
    if max_cost is not None and not besides["teacher"]:
        raise dm.UsageError("--max-cost is for a teacher; learning itself costs nothing", hint="add --teacher NAME")


def _say_measured(context: CommandContext, lessons: Sequence[dm.Lesson]) -> None:
    measured = [lesson for lesson in lessons if lesson.report.after is not None]
    if any(lesson.report.from_verdicts for lesson in measured):
        context.say(HARD_VERDICTS)
    _note_unmeasured(context, measured)
    for lesson in lessons:
        for line in summaries.outlook(lesson.report, lesson.question):
            context.say(line)


def _teach(context: CommandContext, plan: dm.ClassifyPlan, most: int, question: str) -> dm.ExitCode:
    """Have a teacher label texts, and say what it did; what it labelled before a limit ended it is learned."""
    report = context.analysis.teach(plan, most, question)
    judged = f"; it agrees with {report.agreed:,} of {report.judged:,} decisions of people" if report.judged else ""
    failed = f", {report.failed:,} without an answer" if report.failed else ""
    context.say(
        f"{report.teacher} labelled {messages.plural(report.labelled, 'new texts', 'new text')}{failed}, "
        f"for ${report.cost_usd:.4f}{judged}"
    )
    return context.report(report.stopped) if report.stopped else dm.ExitCode.OK


def _note_labels(context: CommandContext, lesson: dm.Lesson, file: str | None) -> None:
    labelled_files.note_skipped(context, lesson.counts, lesson.question)
    if number := lesson.counts.overruled:
        overruled = messages.plural(number, "texts have two labels", "text has two labels")
        about = "" if lesson.question == dm.CATEGORY else f" --question {lesson.question}"
        context.say(f"note: {overruled}: triage suspects{' FILE' if file else ''}{about} shows them")


def _note_unmeasured(context: CommandContext, measured: Sequence[dm.Lesson]) -> None:
    """Note which values of each question no label has."""
    questions = context.triage.questions() if measured else ()
    values = {question.name: question.values for question in questions}
    for lesson in measured:
        unmeasured = [
            each.name for each in values.get(lesson.question, ()) if each.name not in lesson.counts.by_category
        ]
        if unmeasured:
            others = f" or {n:,} others" if (n := len(unmeasured) - MOST_UNMEASURED) > 0 else ""
            unlearned = f"no labelled ticket is {', '.join(unmeasured[:MOST_UNMEASURED])}{others}"
            context.say(f"note: {unlearned}, so this says nothing about such tickets")


SUSPECT_COLUMNS = ("ticket_id", "label", "suggestion", "confidence", "margin", "against", "voices", "text")
MOST_CONFUSED_PAIRS = 8


@remote_command
def suspects(
    context: CommandContext,
    file: labelled_files.File = None,
    label: labelled_files.Label = None,
    limit: options.Limit = None,
    question: options.QuestionName = dm.CATEGORY,
    *,
    printing: PrintOptions,
) -> None:
    """Find labels that a model fitted to the others and stored answers contradict, and categories that are confused.

    \b
    triage suspects
    triage suspects labelled.csv -o csv > to_check.csv
    """
    labelled_files.check(file, label)
    printer = printing.printer(SUSPECT_COLUMNS)
    context.note_missing_database()  # without the use cases, which would make a signal wait for the whole comparison
    context.lend_database()
    rows = labelled_files.read(context, file, label, question) if file else []
    with elapsed_line("comparing the labels", shown=context.guides):
        report = context.analysis.suspects(rows, question)
    labelled_files.note_skipped(context, report.counts, question)
    suspect_records = [
        suspect._asdict() | {"ticket_id": suspect.ticket_id or None, "voices": dict(suspect.voices)}
        for suspect in report.suspects[:limit]
    ]
    printer.all_of(suspect_records, SUSPECT_COLUMNS, drawn_by("eval_tables.suspects"))
    total = report.counts.total
    two_of_them = "two categories" if question == dm.CATEGORY else f"two values of {question}"
    labels_needed = LEAST_LABELLED if total < LEAST_LABELLED else two_of_them
    are_too_few = total < LEAST_LABELLED or len(report.counts.by_category) < 2
    too_few_note = f"; it takes {labels_needed} to doubt any of them" if are_too_few else ""
    are = "is" if len(report.suspects) == 1 else "are"
    context.say(f"{len(report.suspects):,} of {total:,} labels {are} suspect{too_few_note}")
    for pair in report.confused[:MOST_CONFUSED_PAIRS]:
        context.say(f"{pair.n} of {pair.label} look like {pair.guess} ({pair.share:.0%}); their descriptions:")
        for name, description in zip((pair.label, pair.guess), pair.descriptions, strict=True):
            context.say(f"  {name}: {dm.to_json(description) if description else '(none)'}")
