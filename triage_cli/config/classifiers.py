"""Classifiers in config.yaml: their settings with the defaults, and their checks."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.key_tables import (
    Field,
    accepts,
    as_record,
    keys_of,
    named_schema,
    record,
    record_schema,
    suggestion,
)
from triage_cli.config.plugin_settings import of_plugin
from triage_cli.config.rule_conditions import promised_error
from triage_cli.config.yaml_document import ConfigNode
from triage_cli.hooks import Hook

# What `redact` may name: personal data and credentials that a pattern and a checksum can find.
REDACTABLE = ("email", "phone", "card", "iban", "secret")
# How much a model may think before it answers.
EFFORTS = ("none", "minimal", "low", "medium", "high")
# The wires of a Decisions API: OpenAI's `/decisions`, and TypeSafe's `/systemone`.
WIRES = ("decisions", "systemone")
KEY_VARIABLES: Mapping[str, str] = {
    "decision": "OPENAI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}


MODELS = ("decision", "openai", "anthropic")
# Types that answer by themselves, each with a threshold.
ANSWERING = ("local", *MODELS, "command")
CLASSIFIER_TYPES = (*ANSWERING, "cascade")
POSITIVE_COUNT = valid.number(1, 1_000_000_000, whole=True)
SHARE = valid.number(0, 1)
MONEY = valid.number(0, 1_000_000)
STEPS = valid.several(valid.text, alone=False, least=1, most=20)
LONGEST_INSTRUCTIONS = 8_000  # characters
_instructions = valid.unless(
    {"type": "string", "pattern": r"\S", "maxLength": LONGEST_INSTRUCTIONS},
    lambda given: f"has more than {LONGEST_INSTRUCTIONS:,} characters" if len(given) > LONGEST_INSTRUCTIONS else "",
)


class Price(NamedTuple):
    """USD per million tokens; if the cache's prices are null, its tokens cost as much as other input."""

    input: Annotated[float, Field(MONEY, needed=True)] = 0
    output: Annotated[float, Field(MONEY, needed=True)] = 0
    cache_read: Annotated[float | None, Field(valid.optional(MONEY))] = None
    cache_write: Annotated[float | None, Field(valid.optional(MONEY))] = None


class ClassifierSpec(NamedTuple):
    """One classifier as configured; keys that mean nothing to its type keep their default.

    Of type `local` alone `min_confidence` may be null: see `dm.MeasuredThreshold`. `max_error` is the share of wrong
    sure answers that is promised in its place. A language model has `instructions` in its prompt, about how this house
    sorts, and so many of the `nearest` decided tickets. `effort` is one of `EFFORTS`, by default the least that the
    model takes, and `max_answer_tokens` counts what it thinks, too. `run` is a program and its arguments, without a
    shell. `wire` is one of `WIRES`; if it is null, it is found out.
    """

    name: str
    type: Annotated[str, Field(valid.one_of(*CLASSIFIER_TYPES), needed=True)]
    min_confidence: Annotated[float | None, Field(SHARE, ANSWERING)] = None
    max_error: Annotated[dm.MaxError | None, Field(promised_error, ANSWERING)] = None
    model: Annotated[str | None, Field(valid.text, MODELS, needed=True)] = None
    base_url: Annotated[str | None, Field(valid.optional(valid.url), MODELS)] = None
    api_key_env: Annotated[str | None, Field(valid.optional(valid.variable), MODELS)] = None
    workers: Annotated[int, Field(valid.number(1, 1000, whole=True), MODELS)] = 8
    requests_per_minute: Annotated[int | None, Field(valid.optional(POSITIVE_COUNT), MODELS)] = None
    tokens_per_minute: Annotated[int | None, Field(valid.optional(POSITIVE_COUNT), MODELS)] = None
    timeout: Annotated[float, Field(valid.number(0.1, 3600), (*MODELS, "command"))] = 30
    max_retries: Annotated[int, Field(valid.number(0, 100, whole=True), MODELS)] = 5
    price: Annotated[Price | None, Field(valid.optional(as_record(Price)), MODELS)] = None
    steps: Annotated[tuple[str, ...], Field(STEPS, ("cascade",), needed=True)] = ()
    audit_rate: Annotated[float, Field(SHARE, ("cascade",))] = 0
    redact: Annotated[tuple[str, ...], Field(valid.several(valid.one_of(*REDACTABLE)), MODELS)] = ()
    hysteresis: Annotated[float, Field(SHARE)] = 0
    instructions: Annotated[str, Field(_instructions, MODELS)] = ""
    nearest: Annotated[int, Field(valid.number(0, 20, whole=True), ("openai", "anthropic"))] = 0
    effort: Annotated[str | None, Field(valid.one_of(*EFFORTS), ("openai", "anthropic"))] = None
    max_answer_tokens: Annotated[
        int | None, Field(valid.number(16, 1_000_000, whole=True), ("openai", "anthropic"))
    ] = None
    run: Annotated[tuple[str, ...], Field(valid.command, ("command",), needed=True)] = ()
    wire: Annotated[str | None, Field(valid.optional(valid.one_of(*WIRES)), ("decision",))] = None
    settings: Mapping[str, Any] = {}  # the keys of its own that a plug-in's type has

    @property
    def threshold(self) -> float:
        """The confidence from which on an answer is sure, but where held-out answers or a promise decide."""
        return dm.STANDARD_THRESHOLD if self.min_confidence is None else self.min_confidence


CLASSIFIER = keys_of(ClassifierSpec)
PRICE = keys_of(Price)
OF_ANY_TYPE = ("min_confidence", "max_error", "hysteresis")
LOCAL = ClassifierSpec("local", "local")
FORMER_KEYS = {"encoder": "the embedded model has an encoder of its own now, for sixteen languages; remove this line"}
COMMAND_TIMEOUT = 120.0  # seconds that a program may take for its next answer; the first one takes the longest


@accepts(lambda: named_schema(record_schema(CLASSIFIER)))
def read_classifiers(setting: ConfigNode) -> dict[str, ClassifierSpec]:
    """Return the classifiers of the configuration by their names."""
    checked = {}
    for name, inner in valid.named_entries(setting).items():
        prefix = f"classifiers.{name}"
        values = of_plugin(Hook.CLASSIFIER, inner, CLASSIFIER, OF_ANY_TYPE, prefix) or record(
            inner, CLASSIFIER, prefix, instead="api_key_env", misplaced=FORMER_KEYS
        )
        kind = values.get("type", "")
        if kind in KEY_VARIABLES and "api_key_env" not in inner.value:
            if values.get("base_url"):
                inner.wrong("api_key_env is missing: name the variable of this server's key, or null if it needs none")
            values["api_key_env"] = KEY_VARIABLES[kind]
        if "max_error" in values and "min_confidence" in values:
            inner.wrong("max_error stands in place of min_confidence: leave one of them out")
        if kind == "command":
            inner.refuse_command()
            values.setdefault("timeout", COMMAND_TIMEOUT)
        if kind != "local":
            values.setdefault("min_confidence", dm.STANDARD_THRESHOLD)
        checked[name] = ClassifierSpec(name, **{"type": "", **values})
    _check_steps(setting, {"local": LOCAL} | checked)
    return checked


def _check_steps(setting: ConfigNode, classifiers: Mapping[str, ClassifierSpec]) -> None:
    """Report steps of cascades that do not exist, occur twice, or are cascades themselves."""
    for name, inner in setting.entries().items():
        steps = inner.entries().get("steps") if isinstance(inner.value, dict) else None
        if steps is None or not classifiers[name].steps:
            continue
        earlier: set[str] = set()
        for step in steps.items():
            if not isinstance(step.value, str):
                continue
            if step.value not in classifiers:
                step.wrong(f'no classifier "{step.value}"{suggestion(step.value, classifiers)}')
            elif classifiers[step.value].type == "cascade":
                step.wrong(f'"{step.value}" is a cascade; a step must be one classifier')
            elif step.value in earlier:
                step.wrong(f'"{step.value}" stands twice')
            earlier.add(step.value)
