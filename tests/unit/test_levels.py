"""The tree that slashes make of a list of names, and the level of it at which an answer is sure."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.embedded import classifier, one
from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.classifiers import LabelTree, ScoreCalibration, fit_model
from triage_cli.config import Config, load_config
from triage_cli.service import CategoryNames

PARTS = st.sampled_from(["Billing", "Refund", "Bug", "Error", "Ärger"])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12, unique=True)


def test_a_slash_is_a_level_only_below_a_name_of_the_list() -> None:
    names = ["Billing", "Billing/Refund", "Billing / Invoice", "Bug/Error", "Billing/Refund/Late", "Billing/x/y"]
    assert dm.parents_of(names) == {
        "Billing/Refund": "Billing",
        "Billing / Invoice": "Billing",
        "Billing/Refund/Late": "Billing/Refund",
        "Billing/x/y": "Billing",
    }


@given(NAMES)
@examples(50, 2000)
def test_each_name_has_one_path_and_each_level_of_it_one_name(names: list[str]) -> None:
    levels = dm.Levels(names, dm.parents_of(names))
    for name in names:
        path = [*levels.path(name)]
        assert path[0] == name
        assert path[-1] not in levels.parents
        assert [levels.at(name, level) for level in range(1, len(path) + 2)] == [*path[::-1], None]
        assert [above for above in names if levels.is_within(name, above)] == [n for n in names if n in path]
        assert not any(levels.refines(above, name) for above in path)
    assert levels.is_within(None, None)


@given(NAMES, st.data())
@examples(50, 2000)
def test_a_probability_is_its_own_and_that_of_all_below(names: list[str], data: st.DataObject) -> None:
    shares = data.draw(st.lists(st.integers(0, 100), min_size=len(names), max_size=len(names)))
    own = {name: share / (sum(shares) or 1) for name, share in zip(names, shares, strict=True)}
    levels = dm.Levels(names, dm.parents_of(names))
    sums = levels.sums(own)
    roots = [name for name in names if name not in levels.parents]
    assert sum(sums[name] for name in roots) <= 1 + 1e-9
    for name in names:
        below = sum(own[other] for other in names if levels.is_within(other, name))
        assert abs(sums[name] - below) < 1e-9
        assert name in roots or sums[name] <= sums[levels.parents[name]] + 1e-9


def load(folder: Path, text: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return load_config(config="config.yaml", env={"HOME": str(folder)}, cwd=folder)


CONFIG = """
categories: [General, {name: Payments, was: [Billing]}, Payments/Refund, {name: Payments/Refund/Late}, Bug/Error]
routes: {Payments: all, Payments/Refund: refunds, General: all, Bug/Error: all}
destinations: {all: {type: file, path: a.jsonl}, refunds: {type: file, path: b.jsonl}}
"""


def test_the_configuration_has_levels_unless_it_says_flat(tmp_path: Path) -> None:
    config, flat = load(tmp_path, CONFIG), load(tmp_path, f"{CONFIG}levels: false")
    assert [c.parent for c in config.categories] == ["", "", "Payments", "Payments/Refund", ""]
    assert [c.parent for c in flat.categories] == [""] * 5


def test_a_former_name_of_a_parent_moves_its_children(tmp_path: Path) -> None:
    match = CategoryNames(load(tmp_path, CONFIG).categories).match
    assert match("Billing/Refund") == "Payments/Refund"
    assert match("Billing/Refund/Late") == "Payments/Refund/Late"
    flat = CategoryNames(load(tmp_path, f"{CONFIG}levels: false").categories).match
    assert flat("Billing/Refund") is None
    taken = load(tmp_path, "categories: [{name: A, was: [B]}, A/x, {name: C, was: [B/x]}]")
    assert [c.was for c in taken.categories] == [("B",), (), ("B/x",)]


def test_a_label_may_be_the_lowest_level_alone_where_only_one_name_has_it() -> None:
    listed = [
        dm.Category("Shop"),
        dm.Category("Shop / Refund", parent="Shop"),
        dm.Category("Bug"),
        dm.Category("Bug/Other"),
    ]
    others = [
        dm.Category("Shop/Other", parent="Shop"),
        dm.Category("Bug/Other", parent="Bug"),
        dm.Category("Shop/Bug", parent="Shop"),
    ]
    names = CategoryNames([*listed[:3], *others])
    assert [names.match(label) for label in ("refund", " Refund ", "Bug", "Shop/Bug")] == [
        "Shop / Refund", "Shop / Refund", "Bug", "Shop/Bug",
    ]  # fmt: skip
    assert names.match("refund", whole=True) is None
    assert names.match("Other") is None
    hint = names.unknown("other").hint
    assert hint.startswith('did you mean "Shop/Other" or "Bug/Other"? the categories are Shop, ')
    assert CategoryNames(listed).match("other") is None, "a slash that is no level"
    deep = CategoryNames([dm.Category("Shop"), dm.Category("Shop / Delivery / Late", parent="Shop")])
    assert (deep.match("late"), deep.match("Delivery / Late")) == ("Shop / Delivery / Late", None)


def test_a_rule_takes_what_is_below_and_the_longest_name_wins(tmp_path: Path) -> None:
    rules = load(tmp_path, CONFIG).routes

    def taken_to(category: str) -> tuple[str, ...]:
        ticket = replace(dm.Ticket.of_text("", ticket_id="1", source=""), category=category)
        rule = dm.routing_rules.match(rules, ticket)
        return () if rule is None else rule.to

    assert [taken_to(name) for name in ("Payments", "Payments/Refund", "Payments/Refund/Late", "Bug/Error")] == [
        ("all",), ("refunds",), ("refunds",), ("all",),
    ]  # fmt: skip
    long_form = load(tmp_path, "categories: [A, A/x, B]\nroutes: [{when: {category: A}, to: https://a.example}]").routes
    assert long_form[0].when == {"category": ("A", "A/x")}
    assert dm.compact(long_form[0].when) == '{"category":["A","A/x"]}'


SHOP = [
    dm.Category("Billing"),
    dm.Category("Billing/Refund", "Money back for a payment, refunds, chargebacks"),
    dm.Category("Billing/Invoice", "Invoices, receipts, tax numbers on a bill"),
    dm.Category("Machines", "Lawn mowers and chain saws: engines that do not start, spare parts, repair"),
]
NESTED = [replace(category, parent="Billing" if "/" in category.name else "") for category in SHOP]


def test_a_ticket_of_which_no_child_is_sure_gets_the_parent_that_is() -> None:
    between = "payment and receipt questions"
    flat = one(classifier(fit_model(SHOP), SHOP, 0.95), between)
    levels = classifier(fit_model(NESTED), NESTED, 0.6)
    answer = one(levels, between)
    assert not flat.is_sure
    assert (answer.category, answer.is_sure) == ("Billing", True)
    guess, *above = levels.guesser.levels.steps(answer)
    assert guess[0] == levels.guesser.levels.below(answer) != "Billing"
    assert above == [("Billing", answer.confidence)]
    assert "; next: Billing/Refund 0." in (answer.reason or ""), "neither the guess nor what is above it"
    assert one(classifier(fit_model(NESTED), NESTED, 0.0), between).category == guess[0]
    assert one(classifier(fit_model(NESTED), NESTED, 0.999), between).category == guess[0]
    assert levels.fingerprint != classifier(fit_model(SHOP), SHOP).fingerprint


@pytest.mark.parametrize("asked_at", [0.0, 0.6, 0.999])
def test_a_stored_answer_is_judged_at_the_level_of_the_present_threshold(asked_at: float) -> None:
    model = fit_model(NESTED)
    texts = ["money back", "payment and receipt questions", "the mower", "number of the bill or payment"]
    for text in texts:
        stored = one(classifier(model, NESTED, asked_at), text)
        for threshold in (0.0, 0.5, 0.7, 0.9, 0.999):
            present = classifier(model, NESTED, threshold)
            assert present.rejudged(stored, text) == one(present, text)


@given(NAMES, st.integers(0, 2**32 - 1))
@examples(25, 1000)
def test_a_model_sums_what_is_below_and_goes_down_to_its_guess(names: list[str], seed: int) -> None:
    levels, model = dm.Levels(names, dm.parents_of(names)), fit_model([dm.Category(name, name) for name in names[:2]])
    tree = LabelTree(replace(model, labels=tuple(names), calibration=ScoreCalibration(1.0)), levels)
    own = np.random.default_rng(seed).dirichlet(np.ones(len(names)), 5).astype(np.float32)
    chances, guesses = tree.read(own)
    for row, guess in enumerate(guesses.tolist()):
        sums = levels.sums(dict(zip(names, own[row].tolist(), strict=True)))
        assert np.allclose(chances[row], [sums[name] for name in names], atol=1e-6)
        path = [names[each] for each in tree.path(guess)]
        assert path == [*levels.path(names[guess])]
        for child, parent in pairwise(path):
            siblings = [name for name in names if levels.parents.get(name) == parent]
            assert chances[row][names.index(child)] >= max(sums[name] for name in siblings) - 1e-6
