"""Other categories than at the last classification are reported once, before anything is classified."""

import json
import re

import httpx
import pytest

from tests.support.batch_server import running_batch_server
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore
from triage_cli.service import SHOWN_CATEGORIES, CategoryBasis, CategoryCheck, changed_categories_warning
from triage_cli.stores import CategoryMemory, SqliteStore

SHOP = """categories:
  - {name: Shipping, description: parcels and delivery, examples: [where is my parcel]}
  - {name: Returns, description: sending things back, examples: [I want to send it back]}
"""
SHORT = "subject\nwhere is my parcel\n"
DEFAULTS = "categories: [Billing, Technical, General]\n"


@pytest.fixture
def shop(fitted: Cli) -> Cli:
    """Two folders with a configuration; the database is the same. Commands run in the second one."""
    (fitted.folder / "shop").mkdir()
    (fitted.folder / "config.yaml").write_text(DEFAULTS)
    (fitted.folder / "shop" / "config.yaml").write_text(SHOP)
    return fitted


def in_shop(cli: Cli, *args: str, stdin: str = "") -> str:
    done = cli(*args, "--config", "shop/config.yaml", stdin=stdin)
    assert done.returncode in (0, 3), done.stderr
    return done.stderr


def elsewhere(cli: Cli, *args: str, stdin: str = "") -> str:
    done = cli(*args, stdin=stdin)
    assert done.returncode in (0, 3), done.stderr
    return done.stderr


def test_no_configuration_where_there_was_one_is_told_and_how_to_name_it(shop: Cli) -> None:
    assert in_shop(shop, "run", "-q", stdin=SHORT) == ""
    shop("create", "-q", stdin="subject\nI was charged twice\n")
    told = (
        f"this database was last classified by the categories of {shop.folder}/shop/config.yaml (Shipping, Returns), "
        "and now it is by {}: if that is meant, triage reclassify brings along what was decided before; if not, give "
        f"--config {shop.folder}/shop/config.yaml"
    )
    (shop.folder / "config.yaml").rename(shop.folder / "mine.yaml")
    events = rows(shop.db, "select count(*) from events")
    built_in = "the built-in categories (Billing, Technical, General), without a configuration"
    for command in ("classify", "reclassify", "run"):
        done = shop(command, "-q", stdin="subject\nI was charged twice\n" if command == "run" else "")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"error: {told.format(built_in)}; nothing was classified or sent; if the built-in categories are meant, "
            "triage init writes them\n"
        )
    created = "select count(*) from events where action = 'created'"
    assert rows(shop.db, f"select (select count(*) from events) - ({created})") == [(events[0][0] - 2,)]
    assert rows(shop.db, "select count(*) from deliveries where destination <> 'Shipping'") == [(0,)]
    (shop.folder / "mine.yaml").rename(shop.folder / "config.yaml")
    present = f"the categories of {shop.folder}/config.yaml (Billing, Technical, General)"
    assert elsewhere(shop, "classify", "-q") == f"warning: {told.format(present)}\n"


def test_other_categories_of_the_same_file_name_it_once(shop: Cli) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    (shop.folder / "shop" / "config.yaml").write_text(f"{SHOP}  - Lost\n")
    told = in_shop(shop, "run", "-q", stdin="subject\nwhere is the other parcel\n")
    assert "shop/config.yaml (Shipping, Returns), and now it is by others (Shipping, Returns, Lost): if that" in told
    assert told.endswith("reclassify brings along what was decided before\n")


def test_a_change_that_is_meant_is_told_once(shop: Cli) -> None:
    elsewhere(shop, "run", "-q", stdin=SHORT)
    texts = [f"subject\nwhere is parcel {n}\n" for n in range(4)]
    result = in_shop(shop, "run", "-q", stdin=texts[0])
    assert result.startswith(
        f"warning: this database was last classified by the categories of {shop.folder}/config.yaml (Billing, "
        "Technical, General), and now it is by the categories of"
    )
    assert in_shop(shop, "run", "-q", stdin=texts[1]) == ""
    assert elsewhere(shop, "run", "-q", stdin=texts[2]).count("warning: ") == 1
    assert in_shop(shop, "run", "-q", stdin=texts[3]).count("warning: ") == 1


def test_nothing_is_told_or_remembered_where_nothing_is_classified(shop: Cli) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    assert elsewhere(shop, "classify", "-q") == ""
    assert elsewhere(shop, "create", "-q", stdin="subject\nwhere is the other parcel\n") == ""
    assert "last classified" not in elsewhere(shop, "classify", "--dry-run")
    assert "last classified" in elsewhere(shop, "classify", "-q")


def test_a_preview_tells_it_and_what_is_applied_is_remembered(shop: Cli) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    for _ in range(2):  # of the second one nobody is asked: the answers are kept
        elsewhere(shop, "reclassify", "-q")
    assert "last classified" in elsewhere(shop, "reclassify", "-q", "--apply")
    shop("create", "-q", stdin="subject\nI was charged twice\n")
    assert elsewhere(shop, "classify", "-q") == ""


def test_the_first_preview_tells_it(shop: Cli) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    assert "last classified" in elsewhere(shop, "reclassify", "-q")


@pytest.mark.parametrize(
    "text", ["categories: [{name: Parcels, was: [Shipping]}, Returns]\n", f"{SHOP}offline: true\n"]
)
def test_a_rename_and_another_file_of_the_same_list_are_no_other_categories(shop: Cli, text: str) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    (shop.folder / "config.yaml").write_text(text)
    assert elsewhere(shop, "run", "-q", stdin="subject\nwhere is the other parcel\n") == ""


def test_a_server_tells_it_in_its_log_and_not_to_who_calls_it(shop: Cli) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    key = shop("keys", "create", "ada", "--role", "agent", "-o", "id", "-q").stdout.strip()
    process = shop.start("serve", "--port", "0", stdin=None)
    assert process.stderr is not None
    try:
        line = next(line.decode() for line in process.stderr if b"serving" in line)
        url = re.findall(r"serving (\S+),", line)[0]
        with httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False) as client:
            made = client.post("/tickets", json={"subject": "where is the other parcel"}).json()
            assert client.post(f"/tickets/{made['ticket_id']}/classify").status_code == 200
    finally:
        process.terminate()
    _, rest = process.communicate(timeout=PATIENCE)
    records = [json.loads(line) for line in rest.decode().splitlines() if "last classified" in line]
    assert process.returncode == 143
    assert [(line["level"], line["message"].partition(" by ")[0]) for line in records] == [
        ("warning", "warning: this database was last classified")
    ]


def test_what_is_put_into_a_batch_is_told_of_and_remembered(shop: Cli) -> None:
    in_shop(shop, "run", "-q", stdin=SHORT)
    with running_batch_server() as provider:
        (shop.folder / "config.yaml").write_text(
            "classifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: {provider.url}, api_key_env: null}}\n"
        )
        shop("create", "-q", stdin="subject\nwhere is the other parcel\n")
        assert "last classified" in elsewhere(shop, "classify", "--batch", "-q")
    (shop.folder / "config.yaml").unlink()
    shop("create", "-q", stdin="subject\nI was charged twice\n")
    assert elsewhere(shop, "classify", "-q") == ""


# -- the memory


def checked(store: SqliteStore | PostgresStore, basis: CategoryBasis, *was: dm.Category) -> list[str]:
    messages: list[str] = []
    heirs = {old: category.name for category in was for old in category.was}
    check = CategoryCheck(CategoryMemory(store.database), basis, heirs, messages.append)
    ticket = dm.Ticket("t", "t", "test", None, "", "s", None, None, None, 2, None, "")
    for _ in check.over([[], [], [ticket], [ticket]]):
        pass
    check.after()
    check.after()
    return messages


def test_both_stores_remember_the_last_one(store: SqliteStore | PostgresStore) -> None:
    one, two = CategoryBasis(("a", "b"), "/x/config.yaml", "here"), CategoryBasis(("b", "c"), None, "there")
    memory = CategoryMemory(store.database)
    assert memory.last() is None
    assert [len(checked(store, basis)) for basis in (one, one, two, replace(one, host="there"), two)] == [0, 0, 1, 1, 1]
    assert memory.last() == two
    assert checked(store, CategoryBasis(("d", "b"), "/y", "here"), dm.Category("d", was=("c",))) == []
    assert memory.last() == (("d", "b"), "/y", "here")


def test_another_order_is_no_other_list_and_another_machine_writes_nothing(store: SqliteStore | PostgresStore) -> None:
    one = CategoryBasis(("a", "b"), "/x/config.yaml", "here")
    assert checked(store, one) == checked(store, CategoryBasis(("b", "a"), "/y", "here")) == []
    before = store.database.read("select at, host from classified_by")
    assert checked(store, CategoryBasis(("b", "a"), "/y", "there")) == []
    assert store.database.read("select at, host from classified_by") == before


def test_a_long_list_is_told_in_short_and_a_path_as_a_shell_takes_it() -> None:
    there = tuple(f"c{n}" for n in range(SHOWN_CATEGORIES + 3))
    note = changed_categories_warning(
        CategoryBasis(there, "/a b/config.yaml", "there"), CategoryBasis(("x", "y"), "/c.yaml", "here")
    )
    assert "of /a b/config.yaml on there (c0, c1, c2, c3, c4 and 3 more), and now it is by the categories of /c" in note
    assert note.endswith("if not, give --config '/a b/config.yaml'")
