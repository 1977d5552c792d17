"""Classifiers in config.yaml: their settings with the defaults, and their checks."""

from collections.abc import Mapping
from typing import NamedTuple

from triage_cli.config.key_tables import Field, accepts, named_schema, record, record_schema, suggestion
from triage_cli.config.rule_conditions import promised_error
from triage_cli.config.validators import (
    command,
    named_entries,
    number,
    one_of,
    optional,
    several,
    text,
    unless,
    url,
    variable,
)
from triage_cli.config.yaml_document import ConfigNode
from triage_cli.domain import MaxError

# What `redact` may name: personal data and credentials that a pattern and a checksum can find.
REDACTABLE = ("email", "phone", "card", "iban", "secret")
# The wires of a Decisions API: OpenAI's `/decisions`, and TypeSafe's `/systemone`.
WIRES = ("decisions", "systemone")
KEY_VARIABLES: Mapping[str, str] = {
    "decision": "OPENAI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}


class Price(NamedTuple):
    """USD per million tokens; if the cache's prices are null, its tokens cost as much as other input."""

    input: float = 0
    output: float = 0
    cache_read: float | None = None
    cache_write: float | None = None


class ClassifierSpec(NamedTuple):
    """One classifier as configured; keys that mean nothing to its type keep their default."""

    name: str
    type: str  # local | decision | openai | anthropic | command | cascade
    min_confidence: float | None = None  # null, of type local alone: see `UNTAUGHT_THRESHOLD`
    max_error: MaxError | None = None  # the share of wrong sure answers that is promised, in place of min_confidence
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    workers: int = 8
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 30
    max_retries: int = 5
    price: Price | None = None
    steps: tuple[str, ...] = ()
    audit_rate: float = 0
    redact: tuple[str, ...] = ()
    hysteresis: float = 0
    instructions: str = ""  # of a language model: text in its prompt, about how this house sorts
    nearest: int = 0  # of a language model: how many of the nearest decided tickets stand in its prompt
    run: tuple[str, ...] = ()  # of type command: the program and its arguments, without a shell
    wire: str | None = None  # of type decision: decisions | systemone; null: found out

    @property
    def threshold(self) -> float:
        """The confidence from which on an answer is sure, but where `UNTAUGHT_THRESHOLD` or a promise decides."""
        return STANDARD_THRESHOLD if self.min_confidence is None else self.min_confidence


LOCAL = ClassifierSpec("local", "local")
# The threshold where the configuration names none.
STANDARD_THRESHOLD = 0.6
# The same of the embedded model, where a person's own categories were neither taught nor evaluated, unless it is a step
# of a cascade. On the sets that it was built with, at most one sure answer in ten is wrong (`benchmarks/accuracy.py`).
UNTAUGHT_THRESHOLD = 0.85
FORMER_KEYS = {"encoder": "the embedded model has an encoder of its own now, for sixteen languages; remove this line"}
MODELS = ("decision", "openai", "anthropic")
# Types that answer by themselves, each with a threshold.
ANSWERING = ("local", *MODELS, "command")
COMMAND_TIMEOUT = 120.0  # seconds that a program may take for its next answer; the first one takes the longest
POSITIVE_COUNT = number(1, 1_000_000_000, whole=True)
SHARE = number(0, 1)
MONEY = number(0, 1_000_000)


@accepts(lambda: named_schema(record_schema(CLASSIFIER)))
def read_classifiers(setting: ConfigNode) -> dict[str, ClassifierSpec]:
    """Return the classifiers of the configuration by their names."""
    checked = {}
    for name, inner in named_entries(setting).items():
        prefix = f"classifiers.{name}"
        values = record(inner, CLASSIFIER, prefix, instead="api_key_env", misplaced=FORMER_KEYS)
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
            values.setdefault("min_confidence", STANDARD_THRESHOLD)
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


@accepts(lambda: record_schema(PRICE))
def _price(setting: ConfigNode) -> Price:
    return Price(**record(setting, PRICE, setting.path))


LONGEST_INSTRUCTIONS = 8_000  # characters
_instructions = unless(
    {"type": "string", "pattern": r"\S", "maxLength": LONGEST_INSTRUCTIONS},
    lambda given: f"has more than {LONGEST_INSTRUCTIONS:,} characters" if len(given) > LONGEST_INSTRUCTIONS else "",
)
PRICE: Mapping[str, Field] = {
    "input": Field(MONEY, needed=True),
    "output": Field(MONEY, needed=True),
    "cache_read": Field(optional(MONEY)),
    "cache_write": Field(optional(MONEY)),
}
CLASSIFIER: Mapping[str, Field] = {
    "type": Field(one_of(*ANSWERING, "cascade"), needed=True),
    "min_confidence": Field(SHARE, ANSWERING),
    "max_error": Field(promised_error, ANSWERING),
    "run": Field(command, ("command",), needed=True),
    "model": Field(text, MODELS, needed=True),
    "base_url": Field(optional(url), MODELS),
    "api_key_env": Field(optional(variable), MODELS),
    "wire": Field(optional(one_of(*WIRES)), ("decision",)),
    "workers": Field(number(1, 1000, whole=True), MODELS),
    "requests_per_minute": Field(optional(POSITIVE_COUNT), MODELS),
    "tokens_per_minute": Field(optional(POSITIVE_COUNT), MODELS),
    "timeout": Field(number(0.1, 3600), (*MODELS, "command")),
    "max_retries": Field(number(0, 100, whole=True), MODELS),
    "price": Field(optional(_price), MODELS),
    "instructions": Field(_instructions, MODELS),
    "nearest": Field(number(0, 20, whole=True), ("openai", "anthropic")),
    "redact": Field(several(one_of(*REDACTABLE)), MODELS),
    "steps": Field(several(text, alone=False, least=1, most=20), ("cascade",), needed=True),
    "audit_rate": Field(SHARE, ("cascade",)),
    "hysteresis": Field(SHARE),
}
