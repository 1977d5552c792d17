"""Requests to classify and to route, verdicts and suggestions, and what came of them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from triage_cli import domain as dm
from triage_cli.extensions.server.schemas import shared_fields as shared
from triage_cli.extensions.server.schemas.records import Response
from triage_cli.extensions.server.schemas.shared_fields import param
from triage_cli.extensions.server.schemas.ticket_selection import LIMIT_FIELD, Count, SelectionIn


class Delivery(Response, of=dm.Delivery):
    """What one destination gets for one decision."""

    tries: list[dm.Attempt] = Field(description="its attempts, the first one first")


class RouteIn(shared.RequestBody):
    """How to route one ticket."""

    again: bool = Field(False, description="send it again to destinations that have accepted it")
    retry_dead: bool = Field(False, description="try dead letters again")


class RouteQuery(shared.QueryParameters):
    """How to route, as the command line's options."""

    dry_run: bool = shared.DRY_RUN_FIELD


class RouteManyQuery(RouteQuery):
    """How to route many tickets; the body may say the same."""

    limit: Count | None = LIMIT_FIELD


class RoutePlanIn(shared.RequestBody, of=dm.RoutePlan):
    """How to route."""


class RouteManyIn(shared.RequestBody):
    """Which tickets to route, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: RoutePlanIn = Field(default_factory=RoutePlanIn, description="how")


class PreviewQuery(shared.QueryParameters):
    """Assumptions about the ticket."""

    category: shared.ShortName | None = param(None, "as if a person had given it this category", "Billing")


PREVIEW_KEYS = ("ticket_id", "status", "category", "rule", "destinations", "new", "due", "why")


class RoutePreview(Response, of=dm.RoutePreview, keys=PREVIEW_KEYS):
    """Where a ticket would be sent now; nothing is sent."""


class Routed(BaseModel):
    """Where a ticket went."""

    ticket_id: str = shared.TICKET_ID_FIELD
    routed_to: str | None = Field(description="its destinations; whether they have accepted it, `deliveries` tell")
    deliveries: list[Delivery] = Field(description="all its deliveries so far")
    status: dm.Status = Field(description="where the ticket stands now")
    problem: shared.Problem | None = Field(
        default=None, description="why a delivery is still pending, or its result was not saved: code `unavailable`"
    )
    preview: RoutePreview | None = Field(default=None, description="with `dry_run`: where it would be sent")


class ClassifyIn(shared.RequestBody):
    """How to classify one ticket."""

    classifier: shared.ShortName | None = Field(None, description="one of the configuration; else its default")
    force: bool = Field(False, description="ask anew, and overrule a verdict")


class ClassifyQuery(shared.QueryParameters):
    """How to classify, as the command line's options; the body may say the same."""

    classifier: shared.ShortName | None = param(None, shared.CLASSIFIER_TEXT, "local")
    max_cost: shared.Usd | None = param(None, "USD that this request may spend", 1.0)


class ReclassifyManyQuery(ClassifyQuery):
    """How to classify many tickets again."""

    limit: Count | None = LIMIT_FIELD


class ClassifyManyQuery(ReclassifyManyQuery):
    """How to classify many tickets."""

    dry_run: bool = shared.DRY_RUN_FIELD


class ClassifyPlanIn(shared.RequestBody, of=dm.ClassifyPlan):
    """How to classify."""


class ClassifyManyIn(shared.RequestBody):
    """Which tickets to classify, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: ClassifyPlanIn = Field(default_factory=ClassifyPlanIn, description="how")


class ReclassifyPlanIn(shared.RequestBody, of=dm.ReclassifyPlan):
    """How to ask again: the answers are proposals, or are applied."""

    classify: ClassifyPlanIn = Field(default_factory=ClassifyPlanIn, description="how to ask")


class ReclassifyManyIn(shared.RequestBody):
    """Which tickets to ask again about, and how."""

    selection: SelectionIn = Field(default_factory=SelectionIn, description="which tickets")
    plan: ReclassifyPlanIn = Field(default_factory=ReclassifyPlanIn, description="how")


FURTHER_ANSWERS_FIELD: Any = Field(
    default={}, description="to further questions, by their names; no key where there are none"
)


class Classified(Response):
    """The new answer, or the present one if no classifier needed to be asked (`asked` is false)."""

    ticket_id: str = shared.TICKET_ID_FIELD
    classification: str | None = Field(description="the category answered, sure or not; null: the classifier abstained")
    confidence: float | None = Field(description="how sure, from 0 to 1")
    confidence_source: dm.SourceOfConfidence
    reason: str | None = Field(description="why, in the classifier's words")
    status: dm.Status = Field(description="where the ticket stands now")
    category: str | None = Field(description="what holds now")
    suggestion: str | None = Field(description="the machine's unsure guess")
    classifier: str | None = Field(description="the classifier's name in the configuration")
    verdict: bool = Field(description="whether a person's category holds")
    cost_usd: float = Field(description="what the ticket's answers have cost")
    asked: bool = Field(description="whether a classifier was asked just now")
    answers: dict[str, dm.GivenAnswer] = FURTHER_ANSWERS_FIELD


class ClassifyTextIn(shared.RequestBody):
    """A text to classify without storing it. One of subject and description is enough."""

    subject: shared.LongText | None = Field(None, description="what it is about, in a line")
    description: shared.LongText | None = Field(None, description="the text")
    classifier: shared.ShortName | None = Field(None, description="one of the configuration; else its default")
    max_cost: float | None = Field(None, ge=0, description="USD that the answer may cost at most")


class Category(Response, of=dm.Category):
    """A label a ticket may get; `was` are its former names."""

    parent: str | None = Field(None, description="the category that it is below; missing: none")


class Question(Response, of=dm.Question, keys=("name", "ask", "required", "column", "map", "values")):
    """A question that tickets are asked, with the values from which an answer is chosen."""


class CategoryProfile(Category, of=dm.CategoryProfile):
    """A category, the confidence that its answers need, and where its tickets go."""


MOST_VERDICTS = 1000


QUESTION_OF_VERDICT = Field(
    dm.CATEGORY,
    description="what the verdict is on: the category, or a further question, whose value `category` is then",
)


class VerdictIn(shared.RequestBody):
    """A person's category for a ticket; null removes it, and takes no note."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"category": "Billing", "note": "a refund, says the invoice"}]}
    )

    category: shared.ShortName | None = Field(description="one of the configuration, in any case")
    note: Annotated[str, StringConstraints(max_length=10_000)] | None = Field(
        None, description="why; kept with the verdict, and erased by `forget`"
    )
    question: shared.ShortName = QUESTION_OF_VERDICT


class NamedVerdict(shared.RequestBody, of=dm.VerdictDraft):
    """A person's category for the ticket of this name; an impossible one is rejected, the others are stored."""


class VerdictsIn(shared.RequestBody):
    """Verdicts on many tickets."""

    verdicts: Annotated[list[NamedVerdict], Field(max_length=MOST_VERDICTS)] = Field(description="one a ticket")


class SuggestionIn(shared.RequestBody):
    """A category, or an answer to another question, that an agent suggests. It decides nothing."""

    category: shared.ShortName = Field(description="one of the configuration, or a value of the question, in any case")
    question: shared.ShortName = Field(dm.CATEGORY, description="the question that it answers")
    agent: Annotated[str, StringConstraints(min_length=1, max_length=60)] = Field(description="the agent's name")
    note: Annotated[str, StringConstraints(max_length=2000)] | None = Field(None, description="why")
