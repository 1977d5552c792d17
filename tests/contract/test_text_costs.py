"""What a failed question about a text counts as spent, over a server that fails in each way; it is asked once."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.http_stub import HttpStub, Reply
from tests.support.online import ONLINE
from triage_cli.api import problems
from triage_cli.client import Address, RemoteConsultation, RemoteTriage
from triage_cli.domain import (
    AnswerError,
    BudgetError,
    ClassifyPlan,
    RefusedError,
    TextQuestion,
    TriageError,
    UnavailableError,
    UsageError,
    to_json,
)

QUESTION, PLAN = TextQuestion("Refund?"), ClassifyPlan(max_cost=0.25)


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


def problem(error: TriageError) -> Reply:
    return Reply(error.http_status, to_json(problems.problem_details(error)), {"content-type": problems.MEDIA_TYPE})


@pytest.mark.parametrize(
    ("reply", "kind", "spent"),
    [
        (Reply(cut=-1), UnavailableError, 0.25),
        (Reply(200, "{" * 99, cut=9), UnavailableError, 0.25),
        (Reply(200, "[1]"), UnavailableError, 0.25),
        (Reply(502, "bad gateway"), UnavailableError, 0.25),
        (problem(AnswerError("it is silent")), AnswerError, 0.25),
        (problem(BudgetError("the second step might pass the limit")), BudgetError, 0.25),
        (problem(UsageError("the text is empty")), UsageError, 0.0),
        (problem(RefusedError("it has the role reader")), RefusedError, 0.0),
    ],
)
def test_what_may_have_been_spent_counts_and_nothing_is_asked_twice(
    stub: HttpStub, remote: RemoteTriage, reply: Reply, kind: type[TriageError], spent: float
) -> None:
    stub.answer = lambda _: reply
    consult = RemoteConsultation(remote)
    with pytest.raises(kind):
        consult.classify_text(QUESTION, PLAN)
    assert (stub.calls, consult.spent) == (["POST /classify/text"], spent)


def test_a_server_that_is_not_reached_has_spent_nothing() -> None:
    gone = HttpStub()
    gone.close()
    consult = RemoteConsultation(RemoteTriage(Address(gone.root, "key"), ONLINE))
    with pytest.raises(UnavailableError, match="cannot reach"):
        consult.classify_text(QUESTION, PLAN)
    assert consult.spent == 0.0
