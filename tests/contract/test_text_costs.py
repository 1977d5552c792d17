"""What a failed question about a text counts as spent, over a server that fails in each way; it is asked once."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.http_stub import HttpStub, Reply
from tests.support.online import ONLINE
from triage_cli import domain as dm
from triage_cli.extensions.remote import Address, RemoteConsultation, RemoteTriage
from triage_cli.extensions.server import problems

QUESTION, PLAN = dm.TextQuestion("Refund?"), dm.ClassifyPlan(max_cost=0.25)


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    with closing(HttpStub()) as stub:
        yield stub


@pytest.fixture
def remote(stub: HttpStub) -> Iterator[RemoteTriage]:
    remote = RemoteTriage(Address(stub.root, "key"), ONLINE)
    stub.answer = lambda _: Reply(200, "{}")
    remote.connection.get("/stats")  # so that a lost answer is no wrong address
    stub.got.clear()
    yield remote
    remote.close()


def problem(error: dm.TriageError) -> Reply:
    return Reply(error.http_status, dm.to_json(problems.problem_details(error)), {"content-type": problems.MEDIA_TYPE})


@pytest.mark.parametrize(
    ("reply", "kind", "spent"),
    [
        (Reply(cut=-1), dm.UnavailableError, 0.25),
        (Reply(200, "{" * 99, cut=9), dm.UnavailableError, 0.25),
        (Reply(200, "[1]"), dm.UnavailableError, 0.25),
        (Reply(502, "bad gateway"), dm.UnavailableError, 0.25),
        (problem(dm.AnswerError("it is silent")), dm.AnswerError, 0.25),
        (problem(dm.BudgetError("the second step might pass the limit")), dm.BudgetError, 0.25),
        (problem(dm.UsageError("the text is empty")), dm.UsageError, 0.0),
        (problem(dm.RefusedError("it has the role reader")), dm.RefusedError, 0.0),
    ],
)
def test_what_may_have_been_spent_counts_and_nothing_is_asked_twice(
    stub: HttpStub, remote: RemoteTriage, reply: Reply, kind: type[dm.TriageError], spent: float
) -> None:
    stub.answer = lambda _: reply
    consult = RemoteConsultation(remote)
    with pytest.raises(kind):
        consult.classify_text(QUESTION, PLAN)
    assert (stub.calls, consult.spent) == (["POST /operations/classify_text"], spent)


def test_a_server_that_is_not_reached_has_spent_nothing() -> None:
    gone = HttpStub()
    gone.close()
    consult = RemoteConsultation(RemoteTriage(Address(gone.root, "key"), ONLINE))
    with pytest.raises(dm.UnavailableError, match="cannot reach"):
        consult.classify_text(QUESTION, PLAN)
    assert consult.spent == 0.0
