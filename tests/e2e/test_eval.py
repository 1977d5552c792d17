"""`triage eval`: the figures are right, money is bounded, answers are reused, and the report is whole and safe."""

import json
import re
from html.parser import HTMLParser

import pytest

from tests.support import labelled_tickets as labelled
from tests.support.cli import Cli
from tests.support.commands import on_terminal, rows
from tests.support.llm_server import Step, chat, running_llm_server, verdict
from triage_cli import domain as dm

CONTRACT = ("classifier", "n", "accuracy", "macro_f1", "coverage", "per_category", "thresholds", "calibration_error",
            "cost_usd", "seconds")  # fmt: skip
OBVIOUS = (
    "description,label\nrefund my invoice please,Billing\nI was charged twice on my card,Billing\n"
    "the app crashes with an error,Technical\ncannot log in any more,Technical\nwhat are your opening hours,General\n"
)
GRADED = [
    dm.Graded("a", "a", 0.9, sure=True), dm.Graded("a", "a", 0.8, sure=True), dm.Graded("a", "b", 0.7, sure=True),
    dm.Graded("b", "b", 0.6, sure=False), dm.Graded("b", None, None, sure=False),
]  # fmt: skip


def test_wilson_intervals_are_those_of_the_tables() -> None:
    assert dm.confidence_intervals.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert dm.confidence_intervals.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert dm.confidence_intervals.wilson(0, 0) == (0.0, 1.0)


def test_figures_by_hand() -> None:
    got = dm.metrics.scored("x", [*GRADED, dm.Graded("other", "a", 0.65, sure=True)], ["a", "b"], own=0.65)
    assert (got.n, got.accuracy, got.coverage) == (5, 0.6, 0.6)
    assert got.per_category["a"]["recall"] == pytest.approx(2 / 3)
    assert got.per_category["a"]["precision"] == 1.0
    assert got.per_category["b"]["f1"] == 0.5
    assert got.macro_f1 == pytest.approx((0.8 + 0.5) / 2)
    assert got.confusion == [[2, 1, 0], [0, 1, 1]]
    assert got.majority_accuracy == 0.6
    assert got.error_reduction == 0.0
    assert got.outside == {"n": 1, "held_back": 0.0}
    own = next(t for t in got.thresholds if t["threshold"] == 0.65)
    assert (own["answered"], own["wrong"], own["abstained"]) == (4, 2, 2)
    assert own["error_interval"] == list(dm.confidence_intervals.wilson(2, 4))


def test_macro_f1_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    graded = [dm.Graded("abc"[n % 3], "abcc"[n * 7 % 4], 0.5, sure=True) for n in range(50)]
    expected = metrics.f1_score([g.truth for g in graded], [g.guess for g in graded], average="macro")
    assert dm.metrics.macro_f1(graded) == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    """Of answers at 0.9 half are right, of those at 0.5 too: off by 0.4 for half of them."""
    graded = [dm.Graded("a", "ab"[n % 2], c, sure=True) for c in (0.5, 0.9) for n in range(100)]
    assert dm.metrics.calibration_error(graded) == pytest.approx(0.2)
    assert dm.metrics.calibration_error([dm.Graded("a", None, None, sure=False)]) is None


def test_the_record_has_the_contracts_fields(fitted: Cli) -> None:
    (fitted.folder / "l.csv").write_text(OBVIOUS)
    done = fitted("eval", "l.csv", "-o", "json")
    (record,) = json.loads(done.stdout)
    assert tuple(record)[: len(CONTRACT)] == CONTRACT
    assert (record["classifier"], record["n"], record["accuracy"], record["cost_usd"]) == ("local", 5, 1.0, 0.0)
    assert set(record["per_category"]) == {"Billing", "Technical", "General"}
    assert "local: right on 100.0% of 5 (56.6% to 100.0%)" in done.stderr
    assert rows(fitted.db, "select count(*) from tickets") == [(0,)]
    assert rows(fitted.db, "select kind, exit_code from runs order by started_at desc limit 1") == [("eval", 0)]


def test_a_minimum_that_is_missed_is_exit_8(fitted: Cli) -> None:
    (fitted.folder / "l.csv").write_text(OBVIOUS.replace("hours,General", "hours,Billing"))
    assert fitted("eval", "l.csv", "--min-accuracy", "0.8").returncode == 0
    done = fitted("eval", "l.csv", "--min-accuracy", "0.81")
    assert done.returncode == 8
    assert "right on 80.0%, less than --min-accuracy 81.0%" in done.stderr


def test_labels_of_no_category_are_told_apart(fitted: Cli) -> None:
    (fitted.folder / "l.csv").write_text(OBVIOUS + "12345 !!!,none of these\n")
    done = fitted("eval", "l.csv", "-o", "json")
    (record,) = json.loads(done.stdout)
    assert record["n"] == 5
    assert record["outside"] == {"n": 1, "held_back": 1.0}
    assert "1 ticket has a label that is no category: 100.0% was not answered surely" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description,label\nx y,Foo\n", "no label of the file is a category"),
        ("description,label\nx y,\n", "no ticket of the file has a label; name the right column with --label"),
        ("description,team\nrefund,Billing\n", "no column label or category"),
        ("description,label\n", "error: l.csv has a header and no rows; name a file of labelled tickets\n"),
    ],
)
def test_a_file_that_is_no_test_is_exit_2(fitted: Cli, text: str, message: str) -> None:
    (fitted.folder / "l.csv").write_text(text)
    done = fitted("eval", "l.csv")
    assert done.returncode == 2
    assert message in done.stderr


def test_a_table_shows_thresholds_and_the_matrix(fitted: Cli) -> None:
    (fitted.folder / "l.csv").write_text(OBVIOUS)
    seen = on_terminal(fitted.folder, fitted.env, "eval", "l.csv", columns=140)
    assert seen.code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.text)
    assert "a threshold to choose" in plain
    assert "labelled ↓ answered →" in plain
    assert "0.95" in plain
    assert "0 wrong of 5 does not prove 0.00: up to 43.4% may be wrong; label at least 30 more." in plain
    (fitted.folder / "l.csv").write_text("description,label\n" + "".join(OBVIOUS.partition("\n")[2] for _ in range(7)))
    fitted("eval", "l.csv", "--report", "r.html")
    assert "<p>Proven: from 0.00 on at most 9.9% is wrong.</p>" in (fitted.folder / "r.html").read_text()


def test_tickets_that_were_learned_from_flatter_and_it_is_said(fitted: Cli) -> None:
    (fitted.folder / "config.yaml").write_text(labelled.CATEGORIES)
    (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(10)))
    assert "note: " not in fitted("eval", "teach.csv").stderr
    assert fitted("learn", "teach.csv").returncode == 0
    done = fitted("eval", "teach.csv", "-o", "json", "--report", "r.html")
    assert "note: 30 of these 30 tickets were learned from, so the accuracy is too high\n" in done.stderr
    assert "30 of these tickets were learned from" in (fitted.folder / "r.html").read_text()
    (record,) = json.loads(done.stdout)
    assert tuple(record) == tuple(name for name in dm.metrics.Scored._fields if name != "levels")
    mixed = [*labelled.rows(10), ("a heron and a stork", "General"), ("the flange of the gasket", "Billing")]
    (fitted.folder / "mixed.csv").write_text(labelled.csv([*mixed, ("nothing at all", "Nonsense")]))
    done = fitted("eval", "mixed.csv")
    assert (
        "note: 30 of these 32 tickets were learned from, so the accuracy is too high; "
        "on the 2 others it is right on 50.0% (9.5% to 90.5%)\n"
    ) in done.stderr
    assert "note: " not in fitted("eval", "mixed.csv", "-q").stderr
    assert fitted("learn", "--rollback").returncode == 0
    assert "learned from" not in fitted("eval", "teach.csv").stderr


def test_only_the_embedded_classifier_has_learned_them(fitted: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict("Billing", 0.9)))) as server:
        with_model(fitted, server.url)
        with (fitted.folder / "config.yaml").open("a") as config:
            config.write(labelled.CATEGORIES)
        (fitted.folder / "teach.csv").write_text(labelled.csv(labelled.rows(10)))
        assert fitted("learn", "teach.csv").returncode == 0
        assert "learned from" not in fitted("eval", "teach.csv", "--classifier", "gpt").stderr
        assert "learned from" in fitted("eval", "teach.csv", "--classifier", "local").stderr


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps what would load or run something."""

    VOID = frozenset({"meta", "line", "circle", "rect", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = {"src", "href", "xlink:href"} | {name for name, _ in attrs if name.startswith("on")}
        if tag in {"script", "link", "iframe", "img", "object"} or loads & dict(attrs).keys():
            self.active.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_page_whose_words_are_only_words(fitted: Cli) -> None:
    evil = "<script>alert(1)</script> \x1b[31m refund my invoice <img src=x onerror=alert(2)>"
    (fitted.folder / "l.csv").write_text(OBVIOUS + f'"{evil}",Technical\n')
    done = fitted("eval", "l.csv", "--report", "r.html", "-q")
    assert done.returncode == 0
    text = (fitted.folder / "r.html").read_text()
    page = Page()
    page.feed(text)
    assert (page.open, page.active) == ([], [])
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    assert text.count("<svg") == 3
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text


@pytest.mark.parametrize("file", [(), ("-",)])
def test_the_report_says_that_the_labels_came_on_stdin(fitted: Cli, file: tuple[str, ...]) -> None:
    done = fitted("eval", *file, "--report", "r.html", "-q", stdin=OBVIOUS)
    assert done.returncode == 0, done.stderr
    assert "stdin" in (fitted.folder / "r.html").read_text()


def with_model(cli: Cli, url: str) -> None:
    (cli.folder / "config.yaml").write_text(
        "classifier: local\nclassifiers:\n  local: {type: local}\n"
        f"  gpt: {{type: openai, model: m, base_url: '{url}', api_key_env: null, workers: 1, max_retries: 0, "
        "price: {input: 1000, output: 1000}}\n"
    )
    (cli.folder / "l.csv").write_text(OBVIOUS)


def test_several_classifiers_stand_side_by_side_and_answers_are_paid_once(fitted: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict("Billing", 0.9)))) as server:
        with_model(fitted, server.url)
        words = ("eval", "l.csv", "--classifier", "local", "--classifier", "gpt", "-o", "json", "--report", "r.html")
        local, gpt = json.loads(fitted(*words).stdout)
        assert (local["classifier"], gpt["classifier"]) == ("local", "gpt")
        assert (gpt["accuracy"], gpt["n"]) == (0.4, 5)
        assert gpt["cost_usd"] == pytest.approx(5 * 0.11)
        assert "Side by side" in (fitted.folder / "r.html").read_text()
        asked = len(server.asked)
        again = json.loads(fitted(*words).stdout)[1]
        assert len(server.asked) == asked == 5
        assert (again["cost_usd"], again["accuracy"], again["reused"]) == (0.0, 0.4, 5)
        # A ticket of the same text costs nothing either; no reason, which is a customer's word, was kept.
        fitted("create", "-q", "--description", "refund my invoice please")
        assert fitted("classify", "--classifier", "gpt").returncode == 0
        assert len(server.asked) == 5
    assert "because" not in json.dumps(rows(fitted.db, "select * from trials"))


DEAR = Step(chat(verdict("Billing", 0.9), usage={"prompt_tokens": 1500, "completion_tokens": 10}))  # USD 1.51


def test_a_bound_on_cost_stops_and_what_was_paid_is_kept(fitted: Cli) -> None:
    with running_llm_server(lambda _n, _asked: DEAR) as server:
        with_model(fitted, server.url)
        done = fitted("eval", "l.csv", "--classifier", "gpt", "--max-cost", "6", "-o", "json")
        assert done.returncode == 7
        (record,) = json.loads(done.stdout)
        assert 0 < record["n"] < 5
        assert record["cost_usd"] <= 6
        assert len(rows(fitted.db, "select * from trials")) == record["n"] == len(server.asked)
        assert rows(fitted.db, "select exit_code, spent from runs where kind = 'eval'") == [(7, record["cost_usd"])]


def test_each_classifier_s_run_bears_what_it_cost_and_the_bound_holds_for_all(fitted: Cli) -> None:
    with running_llm_server(lambda _n, _asked: DEAR) as server:
        with_model(fitted, server.url)
        config = (fitted.folder / "config.yaml").read_text()
        again = (
            config[config.index("  gpt:") :].partition("\n")[0].replace("gpt:", "two:").replace("model: m", "model: n")
        )
        (fitted.folder / "config.yaml").write_text(config.replace("  gpt:", f"{again}\n  gpt:", 1))
        words = ("eval", "l.csv", "--classifier", "gpt", "--classifier", "two", "-o", "json")
        done = fitted(*words, "--max-cost", "12.5")
        assert done.returncode == 7, done.stderr
        costs = [record["cost_usd"] for record in json.loads(done.stdout)]
        assert costs[0] == pytest.approx(7.55)
        assert 0 < costs[1] < 7.55
        assert [spent for (spent,) in rows(fitted.db, "select spent from runs where kind = 'eval'")] == costs
        assert sum(costs) == pytest.approx(1.51 * len(server.asked))


def test_the_budget_of_a_day_bounds_an_evaluation(fitted: Cli) -> None:
    with running_llm_server(lambda _n, _asked: Step(chat(verdict("Billing", 0.9)))) as server:
        with_model(fitted, server.url)
        with (fitted.folder / "config.yaml").open("a") as config:
            config.write("budget: {per_day: 0.01}\n")
        done = fitted("eval", "l.csv", "--classifier", "gpt", "--report", "r.html")
        assert (done.returncode, done.stdout) == (7, ""), "no figures about no answers"
        assert "gpt: no answer was measured\n" in done.stderr
        assert not (fitted.folder / "r.html").exists()
        assert server.asked == []


@pytest.mark.parametrize("options", [(), ("--min-accuracy", "0.5")])
def test_questions_without_an_answer_are_named_with_their_reason(fitted: Cli, options: tuple[str, ...]) -> None:
    answer = Step(chat(verdict("Billing", 0.9)))
    with running_llm_server(lambda n, _asked: answer if n == 0 else Step({}, 400)) as server:
        with_model(fitted, server.url)
        done = fitted("eval", "l.csv", "--classifier", "gpt", *options)
    assert done.returncode == (8 if options else 3)
    assert "4 tickets got no answer, which counts as wrong: " in done.stderr
    assert "triage suspects" not in done.stderr  # the labels are not to blame


def test_a_check_that_fails_is_told_in_json_where_json_was_asked_for(fitted: Cli) -> None:
    (fitted.folder / "wrong.csv").write_text("text,label\nrefund my invoice please,General\n")
    done = fitted("eval", "wrong.csv", "--min-accuracy", "0.9", "-o", "json")
    assert done.returncode == 8
    assert json.loads(done.stdout)[0]["accuracy"] == 0.0
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "check_failed"
    assert error["hint"].startswith("triage suspects")


def test_a_report_overwrites_neither_the_labelled_file_nor_the_database(fitted: Cli) -> None:
    (fitted.folder / "labelled.csv").write_text(OBVIOUS)
    for name in ("labelled.csv", str(fitted.db)):
        before = (fitted.folder / name).read_bytes()
        done = fitted("eval", "labelled.csv", "--report", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert "would be " in done.stderr
        assert done.stderr.endswith("; name another with --report\n")
        assert (fitted.folder / name).read_bytes() == before


def test_no_cell_of_a_sheet_holds_a_table(fitted: Cli) -> None:
    (fitted.folder / "l.csv").write_text(OBVIOUS)
    header, row = fitted("eval", "l.csv", "-o", "csv").stdout.splitlines()
    assert {"classifier", "n", "accuracy", "macro_f1", "coverage", "accuracy_interval"} <= set(header.split(","))
    assert "{" not in row
    assert len(row) < 300
    assert fitted("eval", "l.csv", "-o", "tsv", "--columns", "confusion").stdout.splitlines()[1].startswith("[[")
