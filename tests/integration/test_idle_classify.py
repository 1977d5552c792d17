"""`classify` with nothing to do: an embedded model is not loaded for it, and every error still comes."""

from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.config import load_config
from triage_cli.ports import Classifier
from triage_cli.service import LocalTriage
from triage_cli.wiring import only_loads

CLASSIFIERS = """classifiers:
  plain: {type: local}
  strict: {type: local, max_error: 5%}
  gpt: {type: openai, model: m, api_key_env: NO_SUCH_KEY}
  mixed: {type: cascade, steps: [plain, gpt]}
"""


def test_no_classifier_is_opened_to_ask_about_nothing(world: World) -> None:
    opened: list[dm.ClassifyPlan] = []

    def classifier(plan: dm.ClassifyPlan, *_: str) -> Classifier:
        opened.append(plan)
        return world.classifier

    services = replace(world.services(), classifier=classifier, only_loads=lambda _: True)
    triage, plan = LocalTriage(services, "tester", "test"), dm.ClassifyPlan()
    assert list(triage.classify(dm.Selection(), plan)) == []
    assert not opened
    list(triage.create([dm.TicketDraft(0, 2, "refund", external_id="1")]))
    assert [outcome.action for outcome in triage.classify(dm.Selection(), plan)] == [dm.Action.CLASSIFIED]
    assert len(opened) == 1
    assert list(triage.classify(dm.Selection(), plan)) == []
    assert len(opened) == 1
    (ticket,) = world.store.find(dm.Selection())
    named = dm.Selection(ids=(ticket.ticket_id,))
    assert [outcome.action for outcome in triage.classify(named, plan)] == [dm.Action.UNCHANGED]
    assert [run.exit_code for run in triage.runs(None)] == [0] * 5


@pytest.mark.parametrize(
    ("plan", "is_left"),
    [
        (dm.ClassifyPlan("plain"), True),
        (dm.ClassifyPlan("plain", batch=True), False),
        (dm.ClassifyPlan("strict"), False),
        (dm.ClassifyPlan("gpt"), False),
        (dm.ClassifyPlan("mixed"), False),
        (dm.ClassifyPlan("nobody"), False),
    ],
)
def test_what_may_be_wrong_with_a_classifier_is_looked_at_all_the_same(
    tmp_path: Path, plan: dm.ClassifyPlan, *, is_left: bool
) -> None:
    (tmp_path / "config.yaml").write_text(CLASSIFIERS)
    config = load_config(db=str(tmp_path / "t.db"), env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert only_loads(config, plan) == is_left


def test_a_missing_key_is_told_though_there_is_nothing_to_ask(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(CLASSIFIERS)
    assert fitted("classify", "--classifier", "plain").returncode == 0
    for name, code in (("mixed", 4), ("nobody", 2)):
        assert fitted("classify", "--classifier", name).returncode == code
