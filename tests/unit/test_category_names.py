"""Categories as people write them in a verdict."""

from triage_cli.domain import Category
from triage_cli.service import CategoryNames


def test_a_category_is_known_by_its_name_however_its_letters_are_encoded() -> None:
    composed, decomposed = "St\u00f6rungen", "Sto\u0308rungen"  # the second as macOS writes it
    assert CategoryNames([Category(composed)]).match(f" {decomposed.upper()} ") == composed
    assert CategoryNames([Category(decomposed)]).match(composed) == decomposed
