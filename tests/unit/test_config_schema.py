"""The JSON Schema of the configuration: it takes what the program takes, and refuses what the program refuses."""

import jsonschema_rs
import pytest
import yaml

from tests.support.config_files import EXAMPLE, MISTAKES, whole_example
from tests.support.rule_mistakes import RULE_MISTAKES
from triage_cli.config import STARTER, schema

VALIDATOR = jsonschema_rs.Draft202012Validator(schema())
# What no schema can say: what one place says of another, what only looks alike, and what is there on this machine.
BEYOND = (
    "no classifier", "no category", "no destination", "is a cascade", "stands twice", '"local" stands',
    "is a category still", "is a former name", "is the category of", "has a route already", "another rule is named",
    "holds U+", "holds a character that is no text", "api_key_env is missing", "a.path: ", "is not a valid URL",
    "database: holds a password", "needs both user_env and password_env", "needs timestamp_header or timestamp_in",
    "a time that is not signed", "timestamp_header is given too", "blanks and commas stand",
    "is no encoding", "must be one character",
    "takes one of basic", "means nothing to oauth2", "means nothing to bearer_command", "a header takes one variable",
    "holds a template, which", "stands beside params", "is a secret, or needs one", "is for requests over HTTP",
    "needs one of password_env and auth", "must begin with https://, since", "password_env and auth exclude",
    "each event of a list counts", "needs a body that sets", "routes: cannot read",
    "has no character that can be seen", "looks like a pattern", "is no pattern", "looks around or back",
    "matches an empty text", "by count", "is neither a number nor a time", "compares with a number and with a time",
    "has both over", "is the name of what a ticket has already", "no time zone", "is beyond 24:00",
    "begins and ends at the same time", "no calendar", '02-30" is no day', "holds of nothing",
    "which is not known before: classify", "labels a helpdesk's ticket", "another escalation is named",
    "needs a field that stands", "absent needs field",
    "when.cat: unknown key", "would be asked of", "no value", "holds a comma", "is what a verdict says",
    "but for its case", "map translates", "which is no value", "has the name of what a ticket",
    "urgency: max_error stands in place of", "is no name of a value of", "are not renamed yet",
    "makes more than 20 questions",
)  # fmt: skip


@pytest.mark.parametrize("text", ["{}", "routes:\n", STARTER, EXAMPLE.read_text(encoding="utf-8"), whole_example()])
def test_what_is_shipped_is_valid(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.slow
def test_what_the_program_refuses_is_refused() -> None:
    refused = 0
    for text, expected in [*MISTAKES, *RULE_MISTAKES]:
        try:
            valid = VALIDATOR.is_valid(yaml.safe_load(text))
        except (
            yaml.YAMLError,
            ValueError,
            RecursionError,
            OverflowError,
        ):  # what is no YAML, or holds what JSON cannot
            continue
        beyond = any(words in expected for words in BEYOND)
        assert not valid or beyond, f"an editor finds nothing wrong: {text!r}; if no schema can say it, BEYOND names it"
        refused += not valid
    assert refused > len(MISTAKES) // 2


def test_a_key_of_another_type_and_a_missing_one_are_refused() -> None:
    for spec in ("{type: file, path: x, run: [a]}", "{type: command}", "{path: x}"):
        assert not VALIDATOR.is_valid(yaml.safe_load(f"destinations: {{a: {spec}}}")), spec
    assert VALIDATOR.is_valid(yaml.safe_load("destinations: {a: {type: file, path: x}}"))
