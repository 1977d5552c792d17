"""Texts of configurations: those of `triage init`, short or with every key, and one that proposes categories."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from triage_cli import domain as dm
from triage_cli.config.yaml_lines import scalar

# The example with every key: in a wheel it is beside this module, in a clone at the root of the repository.
EXAMPLE_FILES = (Path(__file__).with_name("example.yaml"), Path(__file__).parents[2] / "config.example.yaml")
FULL_HEADER = """\
# Every key of triage's configuration, with what it means. All but the database is commented out, so that the defaults
# hold: remove the first "# " of a line, and of the lines above to which it belongs, where another value is wanted.
#
"""

STARTER = """\
# The configuration of triage. Every key may be left out; but for the database, the values here are the defaults.
# All keys: triage init --full --to -. Check this file with: triage config check

database: triage.db             # beside this file, so that both go together; or postgresql://user@host/name

categories:                     # description and examples are what every classifier reads
  - name: Billing
    description: Invoices, charges, payments, refunds, subscriptions
  - name: Technical
    description: Errors, bugs, logins, outages, performance, integrations
  - name: General
    description: "Everything else: questions, feedback, orders, accounts, how-tos"

classifier: local               # the default, one of those below
classifiers:
  local: {type: local}                            # asks a person where it is not sure; min_confidence says how sure
  # gpt: {type: openai, model: gpt-6-luna}        # its key stands in the environment: OPENAI_API_KEY
  # both: {type: cascade, steps: [local, gpt]}    # gpt is asked when local is unsure

# Where tickets go: a name from `destinations`, or a URL. By default each category goes to a file
# queues/<category>.jsonl beside the database.
# destinations:
#   billing: {type: webhook, url: https://example.com/billing, secret_env: BILLING_WEBHOOK_SECRET}
#   archive: {type: file, path: archive.jsonl}
# routes:
#   Billing: billing
#   Technical: https://example.com/tech-tickets
#   General: archive
"""


def every_key() -> str:
    """Return a configuration that names every key, commented out but for the database."""
    example = next(path for path in EXAMPLE_FILES if path.is_file()).read_text(encoding="utf-8")
    _, _, example_keys = example.partition("\n")  # its first line says what FULL_HEADER says
    return FULL_HEADER + "".join(
        f"# {line}" if line.strip() and not line.startswith(("#", "database:")) else line
        for line in example_keys.splitlines(keepends=True)
    )


HEADER = """\
# Proposed categories: name, merge and drop them (triage discover --edit), check them with triage config check, and see
# with triage plan what they would change.
"""
PROMISED = """\
classifiers:
  local: {type: local, max_error: 10%}    # nothing is sent until labelled tickets prove it (docs/howto/max-error.md)
"""


LEARNED_HEADER = """\
# Made by triage init: the categories are the {by} of an export. Check changes with triage config check, see with triage
# plan what they would do, and learn from later exports with {learn} FILE --label.
"""


def learned_configuration(
    categories: Iterable[dm.Category], column: str | None, max_error: str, *, database: str | None, missing: int = 0
) -> str:
    """Return a configuration with an export's categories, by a column or else topics, and a promise, proven or not.

    `missing` is how many further labelled tickets the promise needs at least.
    """
    by = "topics" if column is None else f"values of {scalar(column)[:80]}"
    lines = [LEARNED_HEADER.format(by=by, learn=dm.Step.LEARN)]
    if database is not None:
        lines.append(f"database: {scalar(database)}\n")
    if missing:
        lines.append(f"# not proven yet, so everything waits for a person: at least {missing:,} labels are missing\n")
    lines.append(f"classifiers:\n  local: {{type: local, max_error: {max_error}}}\n")
    return "".join([*lines, "categories:\n", *category_lines(categories)])


def proposed_configuration(categories: Iterable[dm.Category], *, database: str | None = None) -> str:
    """Return a configuration with these categories, and nothing else unless it names a database, as a first one does.

    A first one also promises how much may be wrong: of topics nobody knows that, so all waits until labels prove it.
    """
    lines = [HEADER]
    if database is not None:
        lines.append(f"database: {scalar(database)}\n{PROMISED}")
    return "".join([*lines, "categories:\n", *category_lines(categories)])


def category_lines(categories: Iterable[dm.Category]) -> Iterator[str]:
    """Yield categories as the lines of a list in a configuration, indented by two."""
    for category in categories:
        yield f"  - name: {scalar(category.name)}\n"
        if category.description:
            yield f"    description: {scalar(category.description)}\n"
        if category.was:
            yield f"    was: [{', '.join(map(scalar, category.was))}]\n"
        if category.examples:
            yield "    examples:\n"
            yield from (f"      - {scalar(text)}\n" for text in category.examples)
