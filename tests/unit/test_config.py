"""The configuration: what is found, what holds, and that each mistake is said with its line and what to do."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.config_files import EXAMPLE, MISTAKES, whole_example
from tests.support.examples import examples
from tests.support.records import replace
from tests.support.rule_mistakes import RULE_MISTAKES
from triage_cli import domain as dm
from triage_cli.config import (
    BUDGET,
    CATEGORY,
    CLASSIFIER,
    COLUMN,
    CURSOR,
    DEFAULT_CATEGORIES,
    DESTINATION,
    HTTP,
    MAIL,
    PRICE,
    QUESTION,
    ROUTE,
    SERVER,
    SOURCE,
    STARTER,
    TOP_KEYS,
    WHEN,
    ClassifierSpec,
    Config,
    DestinationSpec,
    Field,
    Price,
    every_key,
    load_config,
    shown,
    without_password,
)

TABLES: Mapping[str, Mapping[str, Field]] = {
    "top": TOP_KEYS,
    "category": CATEGORY,
    "classifier": CLASSIFIER,
    "price": PRICE,
    "destination": DESTINATION,
    "http": HTTP,
    "mail": MAIL,
    "source": SOURCE,
    "cursor": CURSOR,
    "budget": BUDGET,
    "route": ROUTE,
    "when": WHEN,
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "cwd").mkdir()
    return tmp_path / "home"


def load(home: Path, text: str | bytes | None = None, *, env: Mapping[str, str] | None = None, **flags: Any) -> Config:
    """Load with `text` as ./config.yaml named by --config, so that it is never passed over."""
    cwd = home.parent / "cwd"
    if text is not None:
        file = cwd / "config.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(0o600)
        flags.setdefault("config", "config.yaml")
    return load_config(env={"HOME": str(home), **(env or {})}, cwd=cwd, **flags)


def problems(home: Path, text: str | bytes, **flags: Any) -> tuple[str, ...]:
    with pytest.raises(dm.ConfigError) as caught:
        load(home, text, **flags)
    return caught.value.problems


def bare(config: Config) -> Config:
    """Return the config without its origin."""
    return replace(config, path=None, origins={})


# A routing map in a file of its own

BOXES = "destinations: {a: {type: file, path: a}, b: {type: file, path: b}}\n"


def with_routes(home: Path, routing_map: str, text: str = f"{BOXES}routes: routes.yaml", **flags: Any) -> Config:
    """Load a configuration that names routes.yaml."""
    (home.parent / "cwd" / "routes.yaml").write_text(routing_map)
    return load(home, text, **flags)


@pytest.mark.parametrize(
    "routes",
    [
        "Billing: a\nGeneral: [b, https://x.example]\n",
        "routes: {Billing: a, General: [b, https://x.example]}\n",
        (
            "- {name: Billing, when: {category: Billing}, to: a}\n"
            "- {name: General, when: {category: General}, to: [b, https://x.example]}\n"
        ),
    ],
)
def test_a_file_of_its_own_has_the_same_routes(home: Path, routes: str) -> None:
    config = with_routes(home, routes)
    assert config.routes == (
        dm.Rule("routes.Billing", ("a",), {"category": ("Billing",)}),
        dm.Rule("routes.General", ("b", "https://x.example"), {"category": ("General",)}),
    )
    assert config.routes_path == home.parent / "cwd" / "routes.yaml"
    assert {key: origin for key, _, origin in shown(config)}["routes.Billing.to"] == "routes.yaml:1"
    inline = BOXES + "routes: {Billing: a, General: [b, https://x.example]}"
    assert load(home, inline).routing_hash() == config.routing_hash()


def test_routes_of_a_flag_replace_those_of_the_configuration(home: Path) -> None:
    config = with_routes(home, "Billing: b", f"{BOXES}routes: {{Billing: nobody}}", routes="routes.yaml")
    assert [rule.to for rule in config.routes] == [("b",)]
    with pytest.raises(dm.ConfigError, match=r"^flag --routes: cannot read .*no.yaml: No such file or directory$"):
        load(home, BOXES, routes="no.yaml")


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("Biling: a", 'routes.yaml:1: routes.Biling: no category "Biling"; did you mean "Billing"?'),
        ("- to: a\n- to: c", 'routes.yaml:2: routes[1].to: no destination "c"'),
        (
            "routes: [{to: a}]\nother: 1",
            "routes.yaml:2: other: unknown key; the file of a routing map has routes or escal",
        ),
        ("", "routes.yaml:1: routes: must be a mapping (category: destination) or a list of rules, not nothing"),
        ("a: [", "routes.yaml:1: column 5: not valid YAML"),
        ("routes: b", 'routes.yaml:1: routes.routes: no category "routes"'),
    ],
)
def test_mistakes_in_a_routing_map_name_its_own_file_and_line(home: Path, routes: str, expected: str) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        with_routes(home, routes)
    assert [problem[: len(expected)] for problem in caught.value.problems] == [expected]
    assert caught.value.message == "routes.yaml has 1 mistake"


def test_mistakes_in_both_files_are_told_together(home: Path) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        with_routes(home, "Biling: a", f"{BOXES}routes: routes.yaml\noffline: x")
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["config.yaml:3", "routes.yaml:1"]
    assert caught.value.message == "the configuration has 2 mistakes"


def test_no_destination_is_the_routing_map(home: Path) -> None:
    with pytest.raises(dm.ConfigError, match="1 mistake") as caught:
        with_routes(home, "Billing: a", "destinations: {a: {type: file, path: routes.yaml}}\nroutes: routes.yaml")
    assert "routes.yaml is the database, a file beside it, or the configuration" in caught.value.problems[0]


# Defaults and precedence


def test_without_a_file_the_defaults_do_the_whole_job(home: Path) -> None:
    config = load(home)
    data = home / ".local/share/triage"
    assert config.path is None
    assert config.database == str(data / "triage.db")
    assert config.categories == DEFAULT_CATEGORIES
    assert config.classifier == "local"
    assert config.classifiers == {"local": ClassifierSpec("local", "local")}
    assert [rule.to for rule in config.routes] == [("Billing",), ("Technical",), ("General",)]
    assert config.destinations["Billing"] == DestinationSpec("Billing", "file", path=data / "queues/Billing.jsonl")
    assert (config.per_day, config.remote, config.offline, config.notes) == (None, None, False, ())
    assert {origin for _, _, origin in shown(config)} == {"default"}


@pytest.mark.parametrize("config", ["\n", "{}", "# nothing\n", "routes:\ncategories: null\n"])
def test_a_file_that_says_nothing_means_the_defaults(home: Path, config: str) -> None:
    expected = load(home)
    assert bare(load(home, config)) == bare(expected)


@pytest.mark.parametrize(
    ("flag", "variable", "in_file", "expected", "origin"),
    [
        ("a.db", "b.db", "c.db", "cwd/a.db", "flag --db"),
        (None, "b.db", "c.db", "cwd/b.db", "environment TRIAGE_DB"),
        (None, None, "c.db", "cwd/c.db", "config.yaml:1"),
        (None, None, "~/c.db", "home/c.db", "config.yaml:1"),
        (None, None, None, "home/.local/share/triage/triage.db", "default"),
    ],
)
def test_the_flag_beats_the_environment_beats_the_file(
    home: Path, flag: str | None, variable: str | None, in_file: str | None, expected: str, origin: str
) -> None:
    env = {} if variable is None else {"TRIAGE_DB": variable}
    config = load(home, f"database: {in_file}" if in_file else "{}", env=env, db=flag)
    assert config.database == str(home.parent / expected)
    assert {key: origin for key, _, origin in shown(config)}["database"] == origin


def test_remote_and_offline_have_the_same_precedence(home: Path) -> None:
    text = "remote: https://file.example\noffline: true\n"
    env = {"TRIAGE_REMOTE": "https://env.example", "TRIAGE_OFFLINE": "no"}
    assert load(home, text)[8:10] == ("https://file.example", True)
    assert load(home, text, env=env)[8:10] == ("https://env.example", False)
    assert load(home, text, env=env, remote="http://flag.example", offline=True)[8:10] == ("http://flag.example", True)


def test_a_typed_database_goes_before_a_remote_that_was_not_typed(home: Path) -> None:
    text, env = "remote: https://file.example\n", {"TRIAGE_REMOTE": "https://env.example"}
    for config in (load(home, text, db="x.db"), load(home, "{}", env=env, db="x.db")):
        assert config.remote is None
        assert "remote" not in config.origins
    assert load(home, text, env={"TRIAGE_DB": "x.db"}, remote="http://flag.example").remote == "http://flag.example"


@pytest.mark.parametrize(("value", "meant"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("", False)])
def test_offline_in_the_environment(home: Path, value: str, meant: bool) -> None:
    assert load(home, env={"TRIAGE_OFFLINE": value}).offline is meant


def test_mistakes_outside_of_the_file_are_told_with_those_inside(home: Path) -> None:
    env = {"TRIAGE_OFFLINE": "maybe", "TRIAGE_REMOTE": "example.com"}
    with pytest.raises(dm.ConfigError) as caught:
        load(home, "offline: 1", env=env, db="mysql://host/db")
    assert caught.value.message == "config.yaml has 4 mistakes"
    assert caught.value.problems == (
        "flag --db: must be a path or postgresql://user@host/name",
        "environment TRIAGE_REMOTE: must be a URL that begins with https:// or http://",
        'environment TRIAGE_OFFLINE: "maybe" is neither 1, true, yes nor 0, false, no',
        "config.yaml:1: offline: must be true or false, not a number",
    )


def test_a_mistake_in_a_flag_is_not_said_to_be_in_the_file(home: Path) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        load(home, "offline: true", remote="example.com")
    assert caught.value.message == "flag --remote: must be a URL that begins with https:// or http://"
    assert caught.value.problems == ()


# Search order


def test_the_search_order(home: Path) -> None:
    cwd, xdg = home.parent / "cwd", home / ".config/triage"
    xdg.mkdir(parents=True)
    (xdg / "config.yaml").write_text("budget: {per_day: 4}")
    assert load(home).per_day == 4
    (cwd / "config.yaml").write_text("budget: {per_day: 3}")
    assert load(home).per_day == 3
    (cwd / "two.yaml").write_text("budget: {per_day: 2}")
    assert load(home, env={"TRIAGE_CONFIG": "two.yaml"}).per_day == 2
    (cwd / "one.yaml").write_text("budget: {per_day: 1}")
    assert load(home, env={"TRIAGE_CONFIG": "two.yaml"}, config="one.yaml").per_day == 1


def test_xdg_directories_are_honoured_where_absolute(home: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(home / "c"), "XDG_DATA_HOME": str(home / "d")}
    (home / "c/triage").mkdir(parents=True)
    (home / "c/triage/config.yaml").write_text("budget: {per_day: 1}")
    config = load(home, env=env)
    assert (config.per_day, config.database) == (1, str(home / "d/triage/triage.db"))
    assert load(home, env={"XDG_DATA_HOME": "relative"}).database == load(home).database


@pytest.mark.parametrize(
    "foreign",
    [
        "site_name: docs\nnav: [a]\n",
        "- a\n- b\n",
        "just text",
        "\n",
        "{}",
        "# comments alone\n",
        "a: !vault x\n",
        "a: {{ helm }}\n{{ b }}\n",
        "a: 1\n---\nb: 2\n",
        "\xff\xfe",
    ],
)
def test_a_foreign_config_yaml_is_passed_over_with_a_note(home: Path, foreign: str) -> None:
    (home.parent / "cwd/config.yaml").write_bytes(foreign.encode("latin-1"))
    config = load(home)
    assert config.path is None
    instead = f"in use: the built-in defaults, database {config.database}"
    assert config.notes == (f"./config.yaml has none of triage's keys and was ignored; {instead}",)


@pytest.mark.parametrize("mistyped", ["categoris: [A, B]", "Categories: [A, B]", "clasifiers: {}\nnote: x"])
def test_a_mistyped_key_makes_no_file_of_another_program(home: Path, mistyped: str) -> None:
    (home.parent / "cwd/config.yaml").write_text(mistyped)
    with pytest.raises(dm.ConfigError, match=r"config\.yaml has [12] mistakes?"):
        load(home)


def test_a_list_of_categories_without_its_key_is_no_file_of_another_program(home: Path) -> None:
    (home.parent / "cwd/config.yaml").write_text("- name: Network\n  description: cables\n- name: Access\n")
    with pytest.raises(dm.ConfigError, match="1 mistake") as caught:
        load(home)
    assert caught.value.problems == ("config.yaml:1: is a list; write categories: above it",)


def test_an_empty_config_yaml_is_refused_and_one_of_a_comment_passed_over(home: Path) -> None:
    file = home.parent / "cwd/config.yaml"
    file.touch()
    with pytest.raises(dm.ConfigError) as caught:
        load(home)
    assert "./config.yaml is an empty file" in caught.value.message
    assert "write it again" in caught.value.hint
    assert load(home, config="config.yaml").notes, "who names an empty file means it"


def test_a_broken_file_with_our_keys_is_not_passed_over(home: Path) -> None:
    (home.parent / "cwd/config.yaml").write_text("categories: [a, b\nroutes: {}\n")
    with pytest.raises(dm.ConfigError, match=r"config\.yaml has 1 mistake"):
        load(home)


@pytest.mark.parametrize("name", ["gone.yaml", ".", "gone/config.yaml"])
def test_a_named_file_must_be_readable(home: Path, name: str) -> None:
    for flags in ({"config": name}, {"env": {"TRIAGE_CONFIG": name}}):
        with pytest.raises(dm.ConfigError, match=f"cannot read {re.escape(name)} "):
            load(home, **flags)


def test_relative_paths_are_relative_to_the_file(home: Path) -> None:
    folder = home / "etc"
    folder.mkdir()
    (folder / "t.yaml").write_text(
        "database: data/t.db\ndestinations:\n  f: {type: file, path: out.jsonl}\n"
        "  c: {type: command, run: [./page.sh, ./x]}\n  d: {type: command, run: [mail, ./x]}\n"
    )
    (folder / "t.yaml").chmod(0o644)
    config = load(home, config=str(folder / "t.yaml"))
    assert config.path == folder / "t.yaml"
    assert config.database == str(folder / "data/t.db")
    assert config.destinations["f"].path == folder / "out.jsonl"
    assert config.destinations["c"].run == (str(folder / "page.sh"), "./x")
    assert config.destinations["d"].run == ("mail", "./x")
    assert config.destinations["Billing"].path == folder / "data/queues/Billing.jsonl"


def test_with_a_server_the_queues_are_beside_the_file(home: Path) -> None:
    config = load(home, "database: postgresql://me@db/triage")
    assert config.database == "postgresql://me@db/triage"
    assert config.destinations["Billing"].path == home.parent / "cwd/queues/Billing.jsonl"


# What the sections mean


def test_classifiers_and_their_defaults(home: Path) -> None:
    config = load(
        home,
        """
classifiers:
  gpt: {type: openai, model: m, price: {input: 1, output: 2}}
  claude: {type: anthropic, model: m}
  own: {type: openai, model: m, base_url: "http://localhost:1/v1", api_key_env: null}
  both: {type: cascade, steps: [local, gpt]}
""",
    )
    specs = config.classifiers
    assert config.classifier == "gpt"
    assert list(specs) == ["local", "gpt", "claude", "own", "both"]
    assert specs["gpt"] == ClassifierSpec(
        "gpt", "openai", min_confidence=0.6, model="m", api_key_env="OPENAI_API_KEY", price=Price(1, 2)
    )
    assert specs["claude"].api_key_env == "ANTHROPIC_API_KEY"
    assert specs["own"].api_key_env is None
    assert specs["both"].steps == ("local", "gpt")
    assert load(home, "classifiers: {a: {type: openai, model: m}, local: {type: local}}").classifier == "local"
    assert load(home, "classifiers: {a: {type: openai, model: m}}\nclassifier: local").classifier == "local"


def test_routes_in_short_form(home: Path) -> None:
    config = load(
        home,
        """
categories: [A, {name: B, was: [Old]}, C]
destinations: {d: {type: webhook, url: https://x.example/y, secret_env: ONE}}
routes: {A: d, Old: https://x.example/z, C: [d, https://x.example/z, d]}
""",
    )
    assert [(rule.name, rule.to, rule.when) for rule in config.routes] == [
        ("routes.A", ("d",), {"category": ("A",)}),
        ("routes.B", ("https://x.example/z",), {"category": ("B",)}),
        ("routes.C", ("d", "https://x.example/z"), {"category": ("C",)}),
    ]
    assert config.destinations["d"].secret_env == ("ONE",)
    assert config.destinations["https://x.example/z"].url == "https://x.example/z"


def test_routes_in_long_form(home: Path) -> None:
    config = load(
        home,
        """
categories: [A, {name: B, was: [Old]}]
routes:
- {name: vip, when: {category: [A, Old], customer_id: "7", min_confidence: 0.9}, to: https://x.example}
- {to: https://x.example}
""",
    )
    vip, rest = config.routes
    assert vip == dm.Rule("routes.vip", ("https://x.example",), {"category": ("A", "B"), "customer_id": ("7",)}, 0.9)
    assert rest == dm.Rule("routes[1]", ("https://x.example",))


def test_a_promised_error_is_a_share_or_a_percentage(home: Path) -> None:
    config = load(
        home,
        """
classifiers: {local: {type: local, max_error: 2%}, other: {type: local, max_error: 0.05}}
destinations: {a: {type: file, path: a.jsonl}}
routes: [{when: {max_error: 0.5 %}, to: a}, {to: a}]
""",
    )
    assert [spec.max_error for spec in config.classifiers.values()] == [dm.MaxError(0.02), dm.MaxError(0.05)]
    assert [rule.max_error for rule in config.routes] == [dm.MaxError(0.005), None]


def test_a_promise_for_each_category_is_shown_as_it_is_written(home: Path) -> None:
    config = load(
        home,
        """
classifiers: {local: {type: local, max_error: {each: 2%}}}
destinations: {a: {type: file, path: a.jsonl}}
routes: [{when: {max_error: {each: 1%}}, to: a}, {to: a}]
""",
    )
    assert config.classifiers["local"].max_error == dm.MaxError(0.02, each=True)
    values = {key: value for key, value, _ in shown(config)}
    assert values["classifiers.local.max_error"] == {"each": 0.02}
    assert values["routes[0].when.max_error"] == {"each": 0.01}


@pytest.mark.parametrize("given", ["{}", "{all: 2%}", "{each: 2%, all: 2%}", "{each: 60%}"])
def test_a_promise_for_each_category_that_is_none_is_told(home: Path, given: str) -> None:
    with pytest.raises(dm.ConfigError):
        load(home, f"classifiers: {{local: {{type: local, max_error: {given}}}}}")


def test_a_classifier_without_a_threshold_has_the_standard_one_but_for_the_embedded_model(home: Path) -> None:
    config = load(home, "classifiers: {gpt: {type: openai, model: m}, local: {type: local}}")
    assert [spec.min_confidence for spec in config.classifiers.values()] == [None, 0.6]
    assert {spec.threshold for spec in config.classifiers.values()} == {0.6}


@pytest.mark.parametrize("given", ["0", "0%", "60%", "-1%", "two", "true", "[1]"])
def test_a_promised_error_that_is_none_is_told(home: Path, given: str) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        load(home, f"classifiers: {{local: {{type: local, max_error: {given}}}}}")
    assert "must be a share above 0% and up to 50%, such as 2%" in caught.value.problems[0]


def test_a_promised_error_and_a_threshold_exclude_each_other(home: Path) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        load(home, "classifiers: {local: {type: local, max_error: 2%, min_confidence: 0.7}}")
    assert "max_error stands in place of min_confidence" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("given", "port", "tls"),
    [
        ("host: mx.example.com", 587, "starttls"),
        ("host: mx.example.com, port: 465", 465, "implicit"),
        ("host: mx.example.com, tls: implicit", 465, "implicit"),
        ("host: mx.example.com, port: 465, tls: starttls", 465, "starttls"),
        ("host: mx.example.com, port: 25", 25, "starttls"),
        ("host: localhost, port: 25", 25, "none"),
        ("host: '::1'", 587, "none"),
        ("host: mx.example.com, tls: none", 587, "none"),
    ],
)
def test_a_mail_is_encrypted_unless_it_stays_here(home: Path, given: str, port: int, tls: str) -> None:
    spec = load(home, f"destinations: {{a: {{type: mail, {given}, from: a@b, to: [c@d]}}}}").destinations["a"].mail
    assert spec is not None
    assert (spec.port, spec.tls, spec.sender, spec.to) == (port, tls, "a@b", ("c@d",))


def test_a_route_reads_columns_and_verdicts(home: Path) -> None:
    when = "{verdict: false, extra.Plan.Name: gold, priority: high, extra.a: [b, 'true']}"
    (rule,) = load(home, f"routes: [{{when: {when}, to: https://x.example}}]").routes
    assert list(rule.when.items()) == [
        ("priority", ("high",)),
        ("verdict", (False,)),
        ("extra.Plan.Name", ("gold",)),
        ("extra.a", ("b", "true")),
    ]


@pytest.mark.parametrize("name", ["A/B", "../../etc/passwd", "..", "-rf", "a:b", "日本/語" * 20, "C\\D", "~"])
def test_a_category_s_queue_stays_in_its_folder(home: Path, name: str) -> None:
    path = load(home, yaml.safe_dump({"categories": [name, "Other"]})).destinations[name].path
    assert path is not None
    assert path.parent == home / ".local/share/triage/queues"
    assert path.resolve() == path
    assert len(path.name.encode()) < 255
    assert not path.name.startswith(("-", "."))


def test_two_categories_never_share_a_queue(home: Path) -> None:
    names = ["A/B", "A:B", "A-B", "A?B"]
    paths = [spec.path for spec in load(home, yaml.safe_dump({"categories": names})).destinations.values()]
    assert len(set(paths)) == len(names)


def test_a_destination_named_like_a_category_is_its_default(home: Path) -> None:
    config = load(home, "destinations: {Billing: {type: webhook, url: https://x.example}}")
    assert config.destinations["Billing"].type == "webhook"
    assert config.routes[0].to == ("Billing",)


def test_the_routing_hash_follows_routes_and_destinations(home: Path) -> None:
    one = load(home).routing_hash()
    assert re.fullmatch("[0-9a-f]{16}", one)
    assert load(home, "budget: {per_day: 1}").routing_hash() == one
    assert load(home, "routes: {Billing: https://x.example}").routing_hash() != one


@pytest.mark.parametrize(
    "spec",
    [
        "type: file, path: q.jsonl",
        "type: webhook, url: https://x.example",
        "type: http, url: https://x.example",
        "type: command, run: [cat]",
        "type: mail, host: localhost, from: a@b.example, to: [c@d.example]",
    ],
)
def test_what_follows_a_changed_text_is_set_for_any_destination(home: Path, spec: str) -> None:
    def loaded(more: str = "") -> Config:
        return load(home, f"destinations: {{q: {{{spec}{more}}}}}\nroutes: [{{to: q}}]")

    usual, ignoring, again = loaded(), loaded(", on_change: ignore"), loaded(", on_change: again")
    assert [config.destinations["q"].on_change for config in (usual, ignoring, again)] == ["ignore", "ignore", "again"]
    assert usual.routing_hash() == ignoring.routing_hash() != again.routing_hash()
    assert ("destinations.q.on_change", "again", "config.yaml:1") in shown(again)
    (problem,) = problems(home, f"destinations: {{q: {{{spec}, on_change: resend}}}}\nroutes: [{{to: q}}]")
    assert 'on_change: "resend"' in problem
    assert "ignore" in problem


# Mistakes


@pytest.mark.parametrize(("text", "expected"), [*MISTAKES, *RULE_MISTAKES])
def test_a_mistake_is_said_with_its_line(home: Path, text: str | bytes, expected: str) -> None:
    """And the secret that somebody wrote is not repeated."""
    found = problems(home, text)
    assert any(problem.startswith(f"config.yaml:{expected}") for problem in found), found
    assert all("sk-1" not in problem and "whsec" not in problem and "pw@" not in problem for problem in found)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines(home: Path) -> None:
    text = "routes: {Biling: nowhere}\ncategories: [a]\nbudget: {per_day: x}\n"
    found = problems(home, text)
    assert [problem.split(":")[1] for problem in found] == ["1", "1", "2", "3"]


def test_one_mistake_is_not_told_again_by_what_refers_to_it(home: Path) -> None:
    text = "classifier: gpt\nclassifiers: {gpt: {type: openai, model: 5}}\ndestinations: {a: {}}\nroutes: {Billing: a}"
    assert len(problems(home, text)) == 2


def test_a_file_that_seems_foreign_says_how_to_name_another(home: Path) -> None:
    with pytest.raises(dm.ConfigError) as caught:
        load(home, "database: x\nhost: a\nport: 1\n")
    assert caught.value.hint == "if the file is not triage's, name another with --config"


def test_an_alias_bomb_is_refused(home: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (found,) = problems(home, "\n".join(lines))
    assert "holds more than 20,000 values" in found


def test_an_ordinary_alias_is_fine(home: Path) -> None:
    config = load(home, "routes: {Billing: &x https://x.example, Technical: *x}")
    assert config.routes[0].to == config.routes[1].to


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_commands_run_only_from_a_file_that_others_cannot_write(home: Path) -> None:
    file = home.parent / "cwd/my config.yaml"
    file.write_text("destinations: {a: {type: command, run: [x]}}")
    file.chmod(0o666)
    with pytest.raises(dm.ConfigError) as caught:
        load(home, config="my config.yaml")
    (problem,) = caught.value.problems
    assert problem == (
        "my config.yaml:1: destinations.a: commands run only from a file that others cannot write, and this one can be "
        "written by others; copy it"
    )
    file.chmod(0o644)
    assert load(home, config="my config.yaml").destinations["a"].run == ("x",)


def test_no_password_is_shown(home: Path) -> None:
    config = load(home, db="postgresql://me:hunter2@host/db?sslpassword=hunter2&password=hunter2")
    assert config.database.count("hunter2") == 3
    assert not [line for line in shown(config) if "hunter2" in str(line)]
    assert without_password("postgresql://me@host/db") == "postgresql://me@host/db"


# The files we write


def test_the_example_loads(home: Path) -> None:
    assert load(home, EXAMPLE.read_bytes()).classifier == "nightly"


def test_the_example_holds_every_key(home: Path) -> None:
    config = load(home, whole_example())
    set_keys = {part for key in config.origins for part in key.split(".")}
    for name, table in TABLES.items():
        assert {key.partition(".")[0] for key in table} <= set_keys, name


def test_config_show_prints_every_key_of_the_example(home: Path) -> None:
    printed = {key for key, _, _ in shown(load(home, whole_example()))}
    assert {re.split(r"[.[]", key)[0] for key in printed} == TOP_KEYS.keys(), "config/show.py yields each key"
    assert {key.split(".")[1] for key in printed if key.startswith("server.")} == SERVER.keys()
    of_question = {key.split(".")[2] for key in printed if key.startswith("questions.urgency.")}
    assert of_question == QUESTION.keys() - {"values", "max_error", "many"} | {"now", "soon", "later"}


def test_config_show_prints_what_is_promised_of_a_question(home: Path) -> None:
    promised = "questions: {mood: {values: [{name: calm}, {name: angry}], max_error: 5%, column: Mood, map: {+: calm}}}"
    printed = {key: value for key, value, _ in shown(load(home, promised)) if key.startswith("questions.mood.")}
    assert (printed["questions.mood.max_error"], printed["questions.mood.map"]) == (0.05, {"+": "calm"})


@pytest.mark.parametrize("name", TABLES)
def test_each_key_of_the_example_has_a_comment(name: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    keys = (key.replace(COLUMN, r"extra\.\w+") for key in TABLES[name])
    assert [key for key in keys if not re.search(rf"(?m)\b{key}:.* # ", text)] == []


def test_the_starter_is_the_defaults_beside_a_database_of_its_own(home: Path) -> None:
    expected = load(home)
    started = load(home, STARTER)
    assert started.database == str(home.parent / "cwd" / "triage.db"), "one project is one folder"
    beside = home.parent / "cwd" / "queues"
    for name in ("Billing", "Technical", "General"):
        assert started.destinations[name].path == beside / f"{name}.jsonl"
    assert bare(load(home, STARTER, db=expected.database)) == bare(expected)


def test_every_key_is_written_commented_out_and_holds_once_it_is_not(home: Path) -> None:
    text = every_key()
    assert bare(load(home, text)) == bare(load(home, "database: triage.db\n")), "the defaults hold"
    example = EXAMPLE.read_text(encoding="utf-8")
    keys = {line for line in example.splitlines() if not line.startswith("#")}
    whole = "\n".join(line[2:] if line[2:] in keys else line for line in text.splitlines())
    assert bare(load(home, whole)) == bare(load(home, example))


def test_yaml_is_not_imported_without_a_file(home: Path) -> None:
    code = (
        "import sys, pathlib, triage_cli.config as c\n"
        "c.load_config(env={'HOME': sys.argv[1]}, cwd=pathlib.Path(sys.argv[1]))\n"
        "print([name for name in ('yaml', 'difflib', 'hashlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True, cwd=EXAMPLE.parent
    )
    assert done.stdout.strip() == "[]"


# Anything at all

KEYS = sorted({key for table in TABLES.values() for key in table} | {"Billing", "local", "a", "openai"})
WORDS = st.sampled_from([*KEYS, "cascade", "file", "https://x", "/", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5) | st.dates()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)
FILES = st.dictionaries(st.sampled_from(list(TOP_KEYS)), TREES, max_size=6)
anything = settings(
    examples(40, 150), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _loads_or_says_why(home: Path, data: bytes) -> None:
    mistakes: tuple[str, ...] = ("nothing",)
    try:
        load(home, data)
    except dm.ConfigError as error:
        mistakes = error.problems
    assert mistakes


@pytest.mark.slow
@anything
@given(tree=FILES)
def test_no_structure_raises_anything_but_a_config_error(home: Path, tree: object) -> None:
    _loads_or_says_why(home, yaml.safe_dump(tree, allow_unicode=True).encode(errors="replace"))


@anything
@given(text=st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@\n\t ,?<=.0\\x\x00é"), max_size=60) | st.binary(max_size=40))
def test_no_text_raises_anything_but_a_config_error(home: Path, text: str | bytes) -> None:
    _loads_or_says_why(home, text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    "path", ["t.db", "./sub/../t.db", "config.yaml", "t.db.head", "t.db-wal", "t.db-shm", "t.db-journal", "hard-link"]
)
def test_no_destination_is_the_database_or_the_configuration(home: Path, path: str) -> None:
    """Also where none of them is there yet, and by whatever name."""
    if path == "hard-link":
        here = home.parent / "cwd"
        (here / "t.db.head").touch()
        (here / path).hardlink_to(here / "t.db.head")
    with pytest.raises(dm.ConfigError) as caught:
        load(home, f"destinations:\n  x: {{type: file, path: {path}}}\nroutes: [{{to: x}}]\ndatabase: t.db\n")
    [problem] = caught.value.problems
    assert problem.startswith("config.yaml:2: destinations.x.path: ")
    assert problem.endswith("is the database, a file beside it, or the configuration; name a file of its own")


def test_a_former_name_may_hold_what_no_name_may_hold_now(home: Path) -> None:
    """So that a category whose name hid something can be given a name that does not."""
    config = load(home, 'categories: [General, {name: Billing, was: "Bil\\u200bling"}]')
    assert config.categories[1].was == ("Bil\u200bling",)


@pytest.mark.parametrize("variable", ["TRIAGE_DB", "TRIAGE_REMOTE", "TRIAGE_CONFIG", "TRIAGE_OFFLINE"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_as_one_that_is_not_set(tmp_path: Path, variable: str, value: str) -> None:
    assert load(tmp_path, env={variable: value}) == load(tmp_path)


@pytest.mark.parametrize("named", ["--config", "TRIAGE_CONFIG", "XDG_CONFIG_HOME"])
def test_a_configuration_of_no_bytes_is_noted_since_a_full_disk_leaves_such_files(tmp_path: Path, named: str) -> None:
    empty = tmp_path / "triage" / "config.yaml"
    empty.parent.mkdir()
    empty.write_text("")
    env = {"TRIAGE_CONFIG": str(empty), "XDG_CONFIG_HOME": str(tmp_path)}
    config = load(tmp_path, config=str(empty)) if named == "--config" else load(tmp_path, env={named: env[named]})
    assert config.notes == (f"{empty} is an empty file, so the built-in defaults are used",)
    assert config.categories == load(tmp_path).categories
    assert load(tmp_path, config="/dev/null").notes == (), "that says: no configuration"


def test_an_empty_name_of_the_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(dm.ConfigError, match=r"^flag --config: is empty$"):
        load(tmp_path, config="")
