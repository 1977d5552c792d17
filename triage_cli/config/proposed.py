"""The text of a configuration that proposes categories."""

from collections.abc import Iterable

from triage_cli.config.saved_imports import scalar
from triage_cli.domain import Category

HEADER = """\
# Proposed categories: name, merge and drop them (triage discover --edit), check them with triage config check, and see
# with triage plan what they would change.
categories:
"""


def proposed_configuration(categories: Iterable[Category]) -> str:
    """Return a configuration with these categories and nothing else."""
    lines = [HEADER]
    for category in categories:
        lines.append(f"  - name: {scalar(category.name)}\n")
        if category.description:
            lines.append(f"    description: {scalar(category.description)}\n")
        if category.examples:
            lines.append("    examples:\n")
            lines += [f"      - {scalar(text)}\n" for text in category.examples]
    return "".join(lines)
