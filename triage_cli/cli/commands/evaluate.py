"""`triage eval`: measures classifiers on labelled tickets: accuracy, thresholds, cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import input_tables, labelled_files, messages, options, summaries
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.cli.output import DELIMITED_FORMATS, PrintOptions, drawn_by
from triage_cli.cli.progress import elapsed_line

# Figures that are tables themselves: no cell of a sheet holds them, unless --columns asks for them.
TABLES_IN_CELLS = ("per_category", "thresholds", "confusion", "reliability", "levels", "recommendation", "forecast")


@remote_command
def evaluate(
    context: CommandContext,
    file: Annotated[str | None, argument("FILE|-", "Labelled tickets.")] = None,
    classifier: Annotated[
        list[str] | None, option("--classifier", "NAME", "Measure this classifier; may be repeated.")
    ] = None,
    label: labelled_files.Label = None,
    question: options.QuestionName = dm.CATEGORY,
    min_accuracy: Annotated[float | None, option("X", "Exit with code 8 below this accuracy.", min=0, max=1)] = None,
    report: Annotated[Path | None, option("FILE.html", "Write a page with all figures and plots.")] = None,
    calibrate: Annotated[
        bool, flag("--calibrate", "Fit the confidences to these labels, so that they are probabilities.")
    ] = False,
    workers: options.Workers = None,
    max_cost: options.MaxCost = None,
    max_wait: options.MaxWait = "2m",
    limit: options.Limit = None,
    *,
    printing: PrintOptions,
) -> int:
    """Measure classifiers on labelled tickets: accuracy, each category, each threshold, calibration, cost, time.

    \b
    triage eval labelled.csv
    triage eval labelled.csv --classifier local --classifier gpt --max-cost 1
    triage eval labelled.csv --report report.html
    triage eval labelled.csv --calibrate
    triage eval labelled.csv --question urgency
    """
    asked = None if context.is_remote else context.config.question(question)
    default_classifiers = [asked.classifier or context.config.classifier] if asked else []
    names: Sequence[str | None] = list(dict.fromkeys(classifier or default_classifiers)) or [None]
    if not context.is_remote:
        _choose_database(context, names, calibrate=calibrate)
    evaluation_plans = [options.ClassifyOptions(name, workers, max_cost, max_wait).plan(context) for name in names]
    file = "-" if file is None else file
    labelled_files.check(file, label)
    input_tables.check_written(context, report, "--report", [0 if file == "-" else file])
    printer = printing.printer(dm.Scored._fields)
    labelled_rows = labelled_files.read(context, file, label, question, needed=True)[:limit]
    evaluations: list[dm.Evaluated] = []
    for plan in evaluation_plans:
        with elapsed_line(f"asking {plan.classifier or 'the default classifier'}", shown=context.guides):
            evaluated = context.analysis.evaluate(labelled_rows, plan, calibrate=calibrate, question=question)
            evaluations.append(evaluated)
        if evaluations[-1].stopped or context.stopper.code:
            break
    measured_evaluations = [each for each in evaluations if each.scored.n]
    scored_records = [each.scored.record() for each in measured_evaluations]
    evaluation_table = drawn_by("eval_tables.evaluations", calibrated=calibrate)
    is_sheet = printer.format in DELIMITED_FORMATS and not printer.chosen
    metric_names = scored_records[0] if scored_records else dm.Scored._fields[: dm.Scored._fields.index("levels")]
    printed_columns = [name for name in metric_names if not (is_sheet and name in TABLES_IN_CELLS)]
    printer.all_of(scored_records, printed_columns, evaluation_table, "classifier")
    if report is not None and measured_evaluations:
        from triage_cli.cli.display import html_reports

        with input_tables.written_file(report, "--report") as page:
            source = "stdin" if file == "-" else file
            page.write(html_reports.evaluation_page(measured_evaluations, source, dm.now()))
        context.say(f"wrote {report}")
    if not context.is_remote:
        _say_promises(context, [plan.classifier or "" for plan in evaluation_plans], question)
    evaluation_codes = {_report_evaluation(context, each, min_accuracy, calibrate=calibrate) for each in evaluations}
    if context.guides and not context.is_remote and question == dm.CATEGORY and summaries.are_any_to_send(context):
        context.say(f"next: {summaries.step_to_routing(context)}")
    return dm.gravest(evaluation_codes)


def _say_promises(context: CommandContext, evaluated_names: Sequence[str], question: str) -> None:
    """Print for each evaluated classifier, and its steps, which answers to the question keep their `max_error` now."""
    classifier_specs = context.config.classifiers
    names_with_steps = {*evaluated_names, *(step for name in evaluated_names for step in classifier_specs[name].steps)}
    promised_errors = wiring.classifier_diagnostics.promised_errors(context.config, names_with_steps, question)
    for name, _, max_error, bounds in promised_errors:
        context.say(f"{name}: {dm.bounds_summary(max_error, bounds)}")


def _choose_database(context: CommandContext, evaluated_names: Sequence[str | None], *, calibrate: bool) -> None:
    """Let the evaluation make a missing database; do without where none may be, unless answers must be stored."""
    specs = [
        context.config.classifiers[name] for name in evaluated_names if name and name in context.config.classifiers
    ]
    try:
        context.make_database()
    except dm.StoreError:  # a place that may not be written, such as another user's
        if calibrate or any(spec.type != "local" for spec in specs):
            raise
        context.look()
        context.lend_database()


def _report_evaluation(
    context: CommandContext, evaluation: dm.Evaluated, min_accuracy: float | None, *, calibrate: bool
) -> dm.ExitCode:
    """Print the summary of one classifier's evaluation, and return its exit code."""
    scored = evaluation.scored
    low, high = scored.accuracy_interval
    accuracy_line = f"right on {scored.accuracy:.1%} of {scored.n:,} ({low:.1%} to {high:.1%})"
    context.say(f"{scored.classifier}: {accuracy_line if scored.n else 'no answer was measured'}")
    before = " before these labels" if calibrate else ""
    for level in (each for each in scored.levels or () if each["n"]):  # labels may all be of upper levels
        context.say(
            f"level {level['level']}: right on {level['accuracy']:.1%} of {level['n']:,}; "
            f"sure of {level['sure']:,}{before}, of which {level['wrong']:,} wrong"
        )
    if evaluation.first_error is not None:
        unanswered = messages.plural(scored.failed, "tickets got no answer", "ticket got no answer")
        context.say(f"{unanswered}, which counts as wrong: {evaluation.first_error.message}")
    if evaluation.learned:
        context.say(_learned_tickets_note(evaluation.learned))
    if scored.outside:
        outside, held_back = scored.outside["n"], scored.outside["held_back"]
        outside_labels = messages.plural(
            outside, "tickets have a label that is no category", "ticket has a label that is no category"
        )
        context.say(f"{outside_labels}: {held_back:.1%} {'of them were' if outside > 1 else 'was'} not answered surely")
    for line in (
        *map(_calibration_line, evaluation.calibrations),
        *(f"{scored.classifier}: {each}" for each in summaries.outlook(scored)),
    ):
        context.say(line)
    if evaluation.stopped is not None:
        return context.report(evaluation.stopped)
    if calibrate and not evaluation.calibrations:
        if refusal := _calibration_refusal(evaluation):
            return context.report(refusal)
        context.say(f"note: nothing was calibrated: it takes {dm.LEAST} answers with a confidence")
    if min_accuracy is not None and scored.accuracy < min_accuracy:
        hint = "triage suspects finds labels that are likely wrong, triage learn fits it to your tickets"
        accuracy_problem = dm.CheckError(
            f"{scored.classifier} is right on {scored.accuracy:.1%}, less than --min-accuracy {min_accuracy:.1%}",
            hint=evaluation.first_error.hint if evaluation.first_error else hint,
        )
        return context.report(accuracy_problem)
    return dm.ExitCode.PARTIAL if scored.failed else dm.ExitCode.OK


def _calibration_line(calibration: dm.Calibration) -> str:
    if calibration.is_better:
        return (
            f"calibrated {calibration.classifier} ({calibration.method}, {calibration.n:,} tickets): calibration error "
            f"{calibration.error_before:.3f}, on held-out answers now {calibration.error_after:.3f}"
        )
    return (
        f"the confidences of {calibration.classifier} stay as they were: fitted to these {calibration.n:,} tickets, "
        f"their calibration error on held-out answers would not be lower, {calibration.error_after:.3f} instead of "
        f"{calibration.error_before:.3f}"
    )


def _learned_tickets_note(learned: dm.LearnedTickets) -> str:
    evaluated_tickets = learned.n + learned.others
    were = "was" if learned.n == 1 else "were"
    of_these = f"{learned.n:,} of these {evaluated_tickets:,} tickets"
    learned_note = f"note: {of_these} {were} learned from, so the accuracy is too high"
    if not learned.others:
        return learned_note
    low, high = learned.interval
    others_right = learned.right / learned.others
    on_others = f"on the {learned.others:,} others it is right on {others_right:.1%}"
    return f"{learned_note}; {on_others} ({low:.1%} to {high:.1%})"


def _calibration_refusal(evaluation: dm.Evaluated) -> dm.UsageError | None:
    """Return the error for a calibration with tickets that the model has learned from."""
    learned = evaluation.learned
    if learned is None or learned.others >= dm.LEAST:
        return None
    return dm.UsageError(
        f"{evaluation.scored.classifier} cannot be calibrated on tickets that it has learned from: it takes {dm.LEAST} "
        f"others, and there are {learned.others}",
        hint="evaluate with tickets that it has not learned from",
    )
