"""The threshold of own categories: what held-out answers bear out, and what is said of it."""

import pytest

from triage_cli import domain as dm


def answers(*groups: tuple[float, int, int]) -> list[tuple[float, bool]]:
    """Return answers of groups of (confidence, number, how many of them are wrong)."""
    return [(confidence, n >= wrong) for confidence, number, wrong in groups for n in range(number)]


@pytest.mark.parametrize(
    ("held_out", "threshold", "said"),
    [
        ([], 0.85, "nothing was measured yet"),
        (answers((0.9, 15, 0)), 0.85, "0 of 15 held-out answers from 0.60 on were wrong; at least 1 more of them"),
        (answers((0.9, 16, 0)), 0.6, "0 of 16 held-out answers from there on were wrong: at most 10%"),
        (answers((0.9, 40, 0), (0.62, 10, 4)), 0.65, "0 of 40 held-out answers from there on"),
        (answers((0.9, 4, 4)), 0.85, "4 of 4 held-out answers"),
        (answers((0.9, 6, 3)), dm.MISTRUSTED, "3 of 6 held-out answers from 0.60 on were wrong, more than a third"),
        (answers((0.9, 6, 2)), 0.85, "2 of 6 held-out answers"),
        (answers((0.7, 49, 17)), 0.85, "17 of 49 held-out answers"),
        (answers((0.7, 49, 22)), dm.MISTRUSTED, "22 of 49 held-out answers"),
        (answers((0.5, 60, 0)), 0.85, "nothing was measured yet"),
    ],
)
def test_what_held_out_answers_bear_out(held_out: list[tuple[float, bool]], threshold: float, said: str) -> None:
    measured = dm.measured_threshold(held_out)
    assert measured.threshold == threshold
    assert said in measured.basis
