"""Shares in config.yaml, as numbers or percentages."""

import re

from triage_cli.config.json_schema import accepts
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError

# The largest share of wrong answers that can be promised.
MOST_ERROR = 0.5


def share(most: float) -> Check:
    """Accept a share above 0 and up to `most`, as a number or a percentage such as `2%`."""

    @accepts(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": most}, {"type": "string", "pattern": "%$"}]}
    )
    def check(place: ConfigNode) -> float:
        value = place.value
        if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?) ?%", value.strip())):
            value = float(found[1]) / 100
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise ConfigValueError(
                f"must be a share above 0% and up to {most:.0%}, such as 2%, not {place.node.text[:40]}"
            )
        return value

    return check
