"""Categories as people write them in a verdict."""

from triage_cli import domain as dm
from triage_cli.service import CategoryNames


def test_a_category_is_known_by_its_name_however_its_letters_are_encoded() -> None:
    composed, decomposed = "St\u00f6rungen", "Sto\u0308rungen"  # the second as macOS writes it
    assert CategoryNames([dm.Category(composed)]).match(f" {decomposed.upper()} ") == composed
    assert CategoryNames([dm.Category(decomposed)]).match(composed) == decomposed
