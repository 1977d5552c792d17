"""Rejected items of a pull: they are in their file before the position behind them is stored, and stay there."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.cli import RejectedItems
from triage_cli.ports import Pause


class Mailbox:
    """A source of one page, with a mail that is none and one under the Message-ID of another."""

    name = "inbox"
    keeps_category = False

    def pages(self, _position: str | None, _plan: dm.PullPlan, _pause: Pause) -> Iterator[dm.SourcePage]:
        none = dm.Rejected(0, 1, dm.RowError("it has no text"), raw="From none\n\n")
        mail = dm.TicketDraft(
            1, 2, "It burns", "Help", "ann@x.example", external_id="1@x", source="inbox", origin="mail"
        )
        mail = replace(mail, extra={"mail": dm.Mail("1@x").record()})
        yield dm.SourcePage([none, mail, replace(mail, row=2, line=3, customer_id="bob@x.example")], position="3")


def pulled(world: World, file: Path) -> list[tuple[str, str | None]]:
    """Pull; return what the file held with each rejected item, and the position that was stored then."""
    found = []
    with closing(RejectedItems(file)) as rejected:

        def keep(item: object) -> None:
            rejected.add(item)
            cursor = world.store.cursor("inbox")
            found.append((file.read_text(), cursor.position if cursor else None))

        list(world.triage().pull(Mailbox(), dm.PullPlan(full=True), lambda _: None, keep))
    return found


def test_rejected_items_are_in_their_file_before_the_position_is_stored(world: World, tmp_path: Path) -> None:
    file = tmp_path / "bad.mbox"
    found = pulled(world, file)
    assert [position for _, position in found] == [None, None]
    assert found[0][0] == "From none\n"
    assert found[1][0] == file.read_text()
    assert found[1][0].count("References: <1@x>") == 1
    cursor = world.store.cursor("inbox")
    assert cursor is not None
    assert cursor.position == "3"


def test_a_later_pull_adds_to_the_file_which_is_its_owners(world: World, tmp_path: Path) -> None:
    file = tmp_path / "bad.mbox"
    pulled(world, file)
    assert file.stat().st_mode & 0o777 == 0o600
    once = file.read_text()
    pulled(world, file)
    assert file.read_text().startswith(once)
    assert len(file.read_text()) > len(once)
