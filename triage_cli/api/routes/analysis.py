"""Endpoints that compare and improve decisions, for administrators; the report, for readers."""

from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from triage_cli.api.dependencies import CurrentAnalysis, json_only, new_router
from triage_cli.api.idempotency import reply
from triage_cli.api.problems import spoken
from triage_cli.api.routes.queries import query_time
from triage_cli.api.schemas import analysis
from triage_cli.api.schemas.records import described
from triage_cli.api.server_log import request_warnings
from triage_cli.client import error_fields
from triage_cli.domain import (
    TOPIC_LABEL,
    ClassifyPlan,
    ConfigError,
    Discovery,
    Drift,
    Labelled,
    Lesson,
    NewConfiguration,
    Proposal,
    Report,
    SpikeSearch,
    SpikeSending,
    SuspectReport,
    TopicText,
    UsageError,
    as_record,
    plan_record,
    report_record,
)
from triage_cli.runtime import private

router = new_router("analysis", json_only)


@router.get("/spikes", response_model=described(SpikeSearch))
def find_spikes(query: Annotated[analysis.SpikeQuery, Query()], current: CurrentAnalysis) -> Response:
    """Find categories and groups of similar tickets about which far more customers write than in earlier weeks."""
    search = current.find_spikes(timedelta(seconds=query.window), timedelta(seconds=query.baseline))
    return reply(as_record(search))


@router.post("/spikes", response_model=described(SpikeSending))
def send_spikes(current: CurrentAnalysis, body: analysis.SpikesIn | None = None) -> Response:
    """Send the spikes that were not sent yet to the destination of the configuration, if it names one."""
    body = body or analysis.SpikesIn()
    sending = current.send_spikes(timedelta(seconds=body.window), timedelta(seconds=body.baseline))
    return reply({"destination": None, "sent": 0} if sending is None else sending._asdict())


@router.get("/drift", response_model=described(list[Drift]))
def drift(query: Annotated[analysis.DriftQuery, Query()], current: CurrentAnalysis) -> Response:
    """Compare the decisions of a period with those of the time before, those that changed by more than chance first."""
    return reply(as_record(current.drift(timedelta(seconds=query.window), query.question)))


@router.get("/report", response_model=described(Report))
def report(query: Annotated[analysis.ReportQuery, Query()], current: CurrentAnalysis) -> Response:
    """Report what happened since: volume, who decided what, how sure and how right, what waits, spikes and drift."""
    since = datetime.now(UTC) - timedelta(days=7) if query.since is None else query.since.astimezone(UTC)
    return reply(report_record(current.report(since)))


@router.post("/suspects", response_model=described(SuspectReport))
def find_suspects(current: CurrentAnalysis, body: analysis.SuspectsIn | None = None) -> Response:
    """Find labels that a model fitted to the others and stored answers contradict, and categories that are confused."""
    body = body or analysis.SuspectsIn()
    return reply(as_record(current.suspects(_labelled(body), body.question)))


@router.post("/discover", response_model=described(Proposal))
def discover(current: CurrentAnalysis, body: analysis.DiscoverIn | None = None) -> Response:
    """Find the topics of the rows, or of stored tickets, as proposals for categories; no ticket is stored.

    Nobody is asked, but for names: `name_with`.
    """
    body = body or analysis.DiscoverIn()
    if body.rows is not None and (body.written_since is not None or body.sources):
        raise UsageError("written_since and sources are for stored tickets, and rows are given", hint="leave them out")
    rows = None if body.rows is None else (TopicText(row.text, row.customer) for row in body.rows)
    since, sources = query_time(body.written_since), tuple(body.sources)
    asked = Discovery(body.most, since, sources, body.name_with, body.max_cost)
    return reply(as_record(current.discover(rows, asked)))


@router.post("/learn", response_model=analysis.Learned)
def learn(current: CurrentAnalysis, body: analysis.LearnIn | None = None) -> Response:
    """Fit the embedded classifier to verdicts and labelled texts; use it if it is better on held-out tickets.

    It is answered when that is done, which takes about a minute with thousands of labels.
    """
    body = body or analysis.LearnIn()
    if body.rollback:
        if body.rows or body.question:
            raise UsageError("a rollback takes no rows and no question", hint="leave them out")
        learned = {"counts": None, "report": as_record(current.roll_back()), "questions": {}}
    else:
        first, *further = current.learn(_labelled(body), lambda _doing, _share: None, body.question)
        learned = _lesson(first) | {"questions": {lesson.question: _lesson(lesson) for lesson in further}}
    return reply(learned | {"warnings": [*map(spoken, request_warnings.get() or ())]})


def _lesson(lesson: Lesson) -> dict[str, Any]:
    return {"counts": as_record(lesson.counts), "report": as_record(lesson.report)}


def _labelled(body: analysis.LabelledRows) -> list[Labelled]:
    return [Labelled(row.text, row.label, is_typical=row.label_source == TOPIC_LABEL) for row in body.rows]


@router.post("/plan", response_model=analysis.Plan)
def plan(body: analysis.PlanIn, current: CurrentAnalysis) -> Response:
    """Compare a new configuration with the present one on stored tickets; nothing is asked, sent or changed."""
    if body.config is None and body.routes is None:
        raise UsageError("no new configuration is given", hint="send config, or routes")
    with TemporaryDirectory(prefix="triage-") as folder:
        texts = {"config": body.config, "routes": body.routes}
        paths = {name: f"{folder}/{name}.yaml" for name, text in texts.items() if text is not None}
        for name, path in paths.items():
            with open(path, "w", encoding="utf-8", opener=private) as file:
                file.write(texts[name] or "")
        new = NewConfiguration(paths.get("config"), paths.get("routes"), sent=True)
        try:
            compared = current.plan(new, query_time(body.written_since), ask=False, max_cost=None)
        except ConfigError as error:  # the caller sees neither the file nor this machine's terminal
            mistakes = ("; ".join(error.problems) or error.message).replace(f"{folder}/", "")
            raise ConfigError(f"the new configuration has a mistake: {mistakes}", hint=error.hint) from error
    return reply(plan_record(compared))


@router.post("/eval", response_model=analysis.Evaluated)
def evaluate(body: analysis.EvalIn, current: CurrentAnalysis) -> Response:
    """Measure a classifier on labelled texts: accuracy, each category, each threshold, calibration, cost."""
    plan = ClassifyPlan(body.classifier, workers=body.workers, max_cost=body.max_cost, max_wait=body.max_wait)
    evaluated = current.evaluate(_labelled(body), plan, calibrate=body.calibrate, question=body.question)
    errors = {name: getattr(evaluated, name) for name in ("stopped", "first_error")}
    return reply(
        {
            **as_record(evaluated),
            "scored": evaluated.scored.record(),
            **{name: None if error is None else error_fields(error) for name, error in errors.items()},
        }
    )
