"""The guard against other tickets: which text is an edit of another one, and which files are doubted."""

import random

import pytest

from tests.support.foreign_tickets import TICKETS as FOREIGN
from tests.support.short_tickets import EDITS, TEXTS, Text
from triage_cli import domain as dm

FILES = 200
POOL = (*TEXTS, *(("", text) for texts in FOREIGN.values() for text in texts))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (("cannot log in", None), ("error 500 on save", None), False),
        (("login page error", None), ("password reset broken", None), False),
        (("cannot log in", None), ("cannot log in", "It says: wrong password."), True),
        (("cannot log in", None), (None, "cannot log in"), True),
        (("cannot log in", None), ("cannot logg in", None), True),
        (("Login", "It fails for Jonas Weber"), ("Login", "It fails for [NAME] [NAME]"), True),
        (("Contact form", "cannot log in"), ("Contact form", "where is my invoice"), False),
        (("Contact form", "cannot log in"), ("Re: Contact form", "cannot log in"), True),
        (("Contact form", None), ("Contact form", "cannot log in since Monday"), True),
        (("Help", "<p>Grüße,</p><div class='x'>the app crashes</div>"), ("Help", "Grüße, the app crashes"), True),
        (("Help", "<b>the app</b> cr<i>ashes</i>&nbsp;&amp; burns"), ("Help", "the app cr ashes & burns"), True),
        (("Help", "<p class='text body'>refund</p>"), ("Help", "<p class='text body'>crash</p>"), False),
        (("Help", "the app crashes. " * 9), ("Help", "the app cra"), True),
        (("ログインできません。パスワードが違うと言われます", None), ("ログインできません", None), True),
        (("ログインできません。パスワードが違うと言われます", None), ("請求書を送ってください", None), False),
        (("我无法登录我的账户", None), ("我无法登陆我的账户", None), True),
        (("我无法登录我的账户", None), ("请把发票发给我", None), False),
        (("!!!", None), ("the app crashes", None), False),
        (("a" * 300_000, None), ("<" * 300_000, None), False),
    ],
)  # fmt: skip
def test_an_edited_ticket_keeps_most_of_its_words(
    before: tuple[str | None, str | None], after: tuple[str | None, str | None], *, expected: bool
) -> None:
    assert dm.is_edit(before, after) is expected
    assert dm.is_edit(after, before) is expected, "in either direction"


@pytest.mark.parametrize(
    ("met", "others", "stops"),
    [(0, 0, False), (1, 1, False), (2, 1, False), (2, 2, True), (9, 9, True), (10, 5, False), (1000, 501, True)],
)
def test_when_an_import_is_doubted(met: int, others: int, *, stops: bool) -> None:
    guard = dm.OtherTicketsGuard(met, others)
    if not stops:
        guard.judge("import")
        return
    with pytest.raises(dm.InputError, match=f'{others} of {met:,} known ids of source "import"'):
        guard.judge("import")


@pytest.mark.parametrize("edit", EDITS)
def test_of_200_files_of_honest_edits_at_most_one_is_refused(edit: str) -> None:
    """Each has 2 to 50 known ids. A quarter of them with each kind of edit would do; so each kind is held to it."""
    chance = random.Random(edit)
    refused = 0
    for _ in range(FILES):
        texts = chance.sample(POOL, chance.randint(2, 50))
        refused += _is_refused([(text, EDITS[edit](text, chance)) for text in texts])
    assert refused <= 1


def test_of_200_files_of_other_tickets_at_least_198_are_refused() -> None:
    chance = random.Random("others")
    refused = 0
    for _ in range(FILES):
        number = chance.randint(2, 50)
        texts = chance.sample(POOL, 2 * number)
        refused += _is_refused(list(zip(texts[:number], texts[number:], strict=True)))
    assert refused >= FILES - 2


def _is_refused(pairs: list[tuple[Text, Text]]) -> bool:
    guard = dm.OtherTicketsGuard()
    for number, (before, after) in enumerate(pairs):
        known, new = (
            dm.dedup.identify(dm.TicketDraft(subject=subject or None, description=description, external_id=f"{number}"))
            for subject, description in (before, after)
        )
        guard.meet(dm.dedup.new_ticket(known, dm.ids.new_id(), "now", None), new)
    try:
        guard.judge("import")
    except dm.InputError:
        return True
    return False
