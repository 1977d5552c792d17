"""docs/recipes: what a page has its reader save and type works against stubs of all that it names, and is done once."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support import vendor_lists
from tests.support.cli import Cli
from tests.support.imap_server import PASSWORD, USER, running_imap_server
from tests.support.labelled_desks import KINDS, running_desk
from tests.support.mail_server import MailStub
from tests.support.mails import mail
from tests.support.pages import PAGES, blocks
from tests.support.vendor_lists import VENDORS
from tests.support.vendors.chat import Slack, Teams
from tests.support.vendors.server import Vendor

RECIPES = {page.stem: page for page in PAGES if page.parent.name == "recipes"}
SECRETS = {
    "ZENDESK_USER": "me@example.com/token", "ZENDESK_TOKEN": "zendesk-secret", "FRESHDESK_KEY": "freshdesk-secret",
    "ZAMMAD_TOKEN": "zammad-secret", "GITHUB_TOKEN": "github-secret", "MAIL_USER": USER, "MAIL_PASSWORD": PASSWORD,
    "SMTP_USER": "desk", "SMTP_PASSWORD": "smtp-secret",
}  # fmt: skip
PROOFS = {
    "zendesk": vendor_lists.basic(SECRETS["ZENDESK_USER"], SECRETS["ZENDESK_TOKEN"]),
    "freshdesk": vendor_lists.basic(SECRETS["FRESHDESK_KEY"], "X"),
    "zammad": f"Token token={SECRETS['ZAMMAD_TOKEN']}",
    "github": f"Bearer {SECRETS['GITHUB_TOKEN']}",
}


class Place(NamedTuple):
    """What stands in the place of one of a page's systems.

    `put` writes its address into the page's configuration, `arrived` tells how much came there. `correct` has a person
    give ticket 1 the category General, where a page says how.
    """

    put: Callable[[Any], object]
    arrived: Callable[[], int]
    correct: Callable[[Cli], object] | None = None
    env: Mapping[str, str] = {}


@contextmanager
def desk(preset: str, host: str) -> Iterator[Place]:
    """Serve a helpdesk: its list, and the API that takes labels."""
    with running_desk(preset) as served:

        def put(config: Any) -> None:
            (source,) = config["sources"].values()
            for keys, root in ((source, served.lists.root), (config["destinations"]["label-back"], served.vendor.root)):
                assert host in keys["url"]
                keys["url"] = keys["url"].replace(host, root)

        change = KINDS[preset].correct
        assert change
        yield Place(put, lambda: len(served.vendor.accepted), lambda _cli: change(served.vendor, 1, "General"))


@contextmanager
def chat(kind: type[Vendor], variable: str) -> Iterator[Place]:
    with closing(kind()) as vendor:
        yield Place(lambda _config: None, lambda: len(vendor.accepted), env={variable: vendor.url})


@contextmanager
def mail_out() -> Iterator[Place]:
    with closing(MailStub(login=(SECRETS["SMTP_USER"], SECRETS["SMTP_PASSWORD"]))) as stub:

        def put(config: Any) -> None:
            for keys in config["destinations"].values():
                if keys["type"] == "mail":
                    keys |= {"host": "127.0.0.1", "port": stub.port, "tls": "none"}

        yield Place(put, lambda: len(stub.got))


@contextmanager
def mailbox() -> Iterator[Place]:
    texts = ("the app crashes when I log in", "Hello, please help", "I was charged twice this month")
    with running_imap_server() as server:
        server.put(*(mail(text, name=f"{n}@x", subject=None) for n, text in enumerate(texts)))
        at = {"host": "127.0.0.1", "port": server.port, "tls": "none"}
        yield Place(
            lambda config: config["sources"]["inbox"].update(at),
            int,
            lambda cli: cli("verdict", "1@x", "General", "-q", USER="ben", LOGNAME="ben"),
        )


class Recipe(NamedTuple):
    """A page's systems, and how much arrives at each in the first night, and after a person's correction."""

    places: Sequence[AbstractContextManager[Place]]
    first: Sequence[int]
    then: Sequence[int]


MADE: Mapping[str, Callable[[], Recipe]] = {
    "zendesk-slack": lambda: Recipe(
        (desk("zendesk", "https://acme.zendesk.com"), chat(Slack, "SLACK_BILLING_URL")), (7, 3), (9, 3)
    ),
    "freshdesk-teams": lambda: Recipe(
        (desk("freshdesk", "https://acme.freshdesk.com"), chat(Teams, "TEAMS_URL")), (7, 2), (8, 2)
    ),
    "zammad-mail": lambda: Recipe((desk("zammad", "https://support.example.com"), mail_out()), (7, 3), (9, 3)),
    "github-issues": lambda: Recipe((desk("github", "https://api.github.com"),), (6,), (7,)),
    "mailbox-postgresql": lambda: Recipe((mailbox(), mail_out()), (0, 2), (0, 3)),
}


def test_each_recipe_has_its_row_and_is_short() -> None:
    assert RECIPES.keys() == MADE.keys()
    assert [name for name, page in RECIPES.items() if len(page.read_text().split()) >= 250] == []


@pytest.mark.parametrize("name", MADE)
def test_a_recipe_works_from_the_first_look_to_a_correction(
    fitted: Cli, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    monkeypatch.setattr(vendor_lists, "SIZE", 100)  # as many as the presets ask for
    for preset, proof in PROOFS.items():
        monkeypatch.setitem(VENDORS, preset, VENDORS[preset]._replace(proof=proof))
    page = {block.language: block for block in blocks(RECIPES[name])}
    config, recipe = yaml.safe_load(page["yaml"].text), MADE[name]()
    if config["database"] != "triage.db":
        config["database"] = request.getfixturevalue("pg_url")

    def typed(line: str) -> None:
        done = fitted(*line.removeprefix("triage ").split())
        assert (done.returncode, done.stderr) == (0, ""), (line, done.stderr)

    with ExitStack() as stack:
        places = [stack.enter_context(place) for place in recipe.places]
        for place in places:
            place.put(config)
            fitted.env |= place.env
        fitted.env |= SECRETS
        (fitted.folder / "config.yaml").write_text(json.dumps(config))
        for line in page["sh"].text.splitlines():
            typed(line.replace(" --since 90d", " --since 2026-01-01"))  # the stubs' tickets are older
        assert sum(place.arrived() for place in places) == 0
        night = [line.rpartition("; ")[2] for line in page["crontab"].text.splitlines()]
        typed(night[0])
        assert [place.arrived() for place in places] == list(recipe.first)
        for place in places:
            if place.correct:
                place.correct(fitted)
        for line in ["triage pull --full -q", *night, *night]:  # --full, since a stub's cursor is no time
            typed(line)
        assert [place.arrived() for place in places] == list(recipe.then)
        (decided,) = json.loads(fitted("list", "--verdict", "-o", "json").stdout)
        assert decided["category"] == "General"
