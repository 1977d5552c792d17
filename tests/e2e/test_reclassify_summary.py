"""The last line of `reclassify`: what becomes of tickets whose new answer is not sure, or that got none."""

import pytest

from tests.support.cli import Cli
from tests.support.llm_server import failing, good, running_llm_server

TICKETS = "id,subject\n1,Please refund the invoice I was charged twice\n2,The login page shows an error and crashes\n"
NOT_APPLIED = "nothing was changed; the same with --apply makes these changes, and asks no classifier again\n"
NEVER_SURE = "classifiers: {local: {type: local, min_confidence: 1}}\n"


@pytest.mark.parametrize(
    ("options", "summary"),
    [
        ((), "0 would flip, 0 confirmed, 0 unchanged, 2 left as before for lack of a sure answer\n"),
        (("--apply",), "0 flipped, 0 confirmed, 0 unchanged, 2 left as before for lack of a sure answer\n"),
        (("--doubted",), f"0 would flip, 0 confirmed, 0 unchanged, 2 would need review\n{NOT_APPLIED}"),
        (("--doubted", "--apply"), "0 flipped, 0 confirmed, 0 unchanged, 2 need review\n"),
    ],
)
def test_what_is_no_longer_sure(fitted: Cli, options: tuple[str, ...], summary: str) -> None:
    assert fitted("run", stdin=TICKETS).returncode == 0
    (fitted.folder / "config.yaml").write_text(NEVER_SURE)
    done = fitted("reclassify", *options, "-o", "id")
    assert (done.returncode, done.stderr.splitlines()[-summary.count("\n") :]) == (0, summary.splitlines())


def test_what_got_no_answer_has_failed(cli: Cli) -> None:
    config = "classifiers: {{gpt: {{type: openai, model: {}, base_url: {}, api_key_env: null, max_retries: 0}}}}\n"
    with running_llm_server() as server:
        (cli.folder / "config.yaml").write_text("classifier: gpt\n" + config.format("m", server.url))
        assert cli("run", stdin=TICKETS).returncode == 0
        (cli.folder / "config.yaml").write_text("classifier: gpt\n" + config.format("other", server.url))
        server.script = lambda n, asked: failing(400) if "login page shows" in str(asked.body) else good(n, asked)
        done = cli("reclassify", "-o", "id")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "0 would flip, 1 confirmed, 0 unchanged, 1 failed")
