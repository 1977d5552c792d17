"""Plug-ins: packages of others add classifiers, destinations, sources, commands and keys; a bad one is one sentence."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import venv
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.clock import CLOCK
from tests.support.http_stub import HttpStub, Reply
from tests.support.plugin_sites import each, install
from tests.support.rooms import PACKAGE

ROOT = PACKAGE.parent
GROUP = "triage.extensions"
SAMPLE = ROOT / "samples" / "plugin"
SAMPLE_CONFIG = """
categories: [Refunds, Logins]
classifiers: {words: {type: keywords, words: {Refunds: [refund, money], Logins: [password]}}}
sources: {inbox: {type: folder, folder: inbox}}
destinations: {spool: {type: spool, folder: spool}}
routes: [{to: spool}]
top: 1
"""


def test_the_sample_is_installed_in_an_environment_of_its_own_and_used(tmp_path: Path) -> None:
    """Built and installed by tools that are there already; triage comes by a path file."""
    home = tmp_path / "venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(home)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "triage.pth").write_text(f"{ROOT}\n{here}\n")
    shutil.copytree(SAMPLE, tmp_path / "sample")
    tools = [sys.executable, "-m", "uv", "pip", "install", "-q", "--offline", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*tools, "-p", str(python), str(tmp_path / "sample")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    env = CLOCK | {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TRIAGE_OFFLINE": "1"}

    def triage(*args: str, code: int = 0) -> str:
        command = [str(python), "-m", "triage_cli", *args]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    for folder in ("inbox", "spool"):
        (tmp_path / folder).mkdir()
    (tmp_path / "inbox" / "7.txt").write_text("I want my money back, a refund")
    (tmp_path / "config.yaml").write_text(SAMPLE_CONFIG)
    for command in ("pull", "classify", "route"):
        triage(command)
    assert "0 created" in triage("pull"), "the position is kept"
    [sent] = [json.loads(path.read_text()) for path in (tmp_path / "spool").iterdir()]
    assert (sent["category"], sent["confidence"], sent["ticket"]["external_id"]) == ("Refunds", 1.0, "7")
    assert triage("top").split() == ["1", "Refunds"]
    assert "0.1.0 in" in triage("doctor", "-o", "csv")
    (tmp_path / "config.yaml").write_text(SAMPLE_CONFIG.replace("top: 1", "top: none"))
    assert "config.yaml:7: top: must be a whole number from 1" in triage("config", "check", code=2)


HEAD = "from triage_cli.plugins import Classifier\n"
ANSWERS = HEAD + "class It(Classifier):\n uses_network = False\n def classify(self, texts, labels):\n  "
# By the kind of fault: the module of a plug-in, its exit code, and the sentence about it.
FAULTY = {
    "absent": ("", 2, "it raised AttributeError: module 'absent' has no attribute 'It'"),
    "import": ("import no_such_module", 2, "it raised ModuleNotFoundError: No module named 'no_such_module'"),
    "version": (
        "from triage_cli.plugins import Telepath",
        2,
        "written for another version of triage than",
    ),
    "leaves": ("raise SystemExit(0)", 2, "it raised SystemExit: 0; mend it, or remove it: pip uninstall leaves"),
    "function": ("def It(texts): return texts", 2, "function:It is no whole class below triage_cli.plugins.Classifier"),
    "empty": (HEAD + "class It(Classifier): pass", 2, "is no whole class below triage_cli.plugins.Classifier"),
    "networked": (ANSWERS.replace("False", "None") + "return []", 2, 'classifier "networked" needs the network'),
    "constructor": (ANSWERS + "return []\n def __init__(self): 1 / 0", 2, "it raised ZeroDivisionError"),
    "raises": (ANSWERS + "raise RuntimeError(texts)", 6, "raised RuntimeError"),
    "outside": (ANSWERS + "return ['Nonsense'] * len(texts)", 3, "a category that is not in the list"),
    "sum": (ANSWERS + "return [dict.fromkeys(labels, 0.9)] * len(texts)", 3, "probabilities that are not 1 in all"),
    "nan": (ANSWERS + "return [{labels[0]: float('nan')}] * len(texts)", 3, "no number from 0 to 1"),
    "count": (ANSWERS + "return labels[:1] * 2 if len(texts) == 1 else []", 6, "one answer for each text"),
    "endless": (ANSWERS + "return iter(int, 1)", 6, "did not give one answer for each text"),
    "type": (ANSWERS + "return [7] * len(texts)", 3, "neither a category nor probabilities"),
    "one": (
        ANSWERS + "return [labels['odd' in t if t else 9] for t in texts if 'odd' not in t or 1/0]",
        3,
        "ZeroDivision",
    ),
    "prints": (ANSWERS + "print('hello', texts); return labels[:1] * len(texts)", 0, "prints, which is left out"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, fitted_database: Path) -> tuple[Cli, Path]:
    """Two stored tickets, and a plug-in with each fault."""
    cli, site = Cli(tmp_path_factory.mktemp("faulty")), tmp_path_factory.mktemp("site")
    cli.db.parent.mkdir(parents=True)
    shutil.copy(fitted_database, cli.db)
    for name, (module, _, _) in FAULTY.items():
        install(site, name, module, {f"classifier.{name}": "It"})
    names = "".join(f"\n  {name}: {{type: {name}}}" for name in FAULTY)
    (cli.folder / "config.yaml").write_text(f"classifiers:\n  local: {{type: local}}{names}\n")
    assert cli("create", "-q", stdin="id,subject\n1,Refund\n2,odd\n", PYTHONPATH=str(site)).returncode == 0
    return cli, site


def test_each_fault_of_a_plugin_is_one_sentence_and_loses_nothing(faulty: tuple[Cli, Path]) -> None:
    cli, site = faulty
    for name in FAULTY:  # a ticket that has failed too often waits for a person
        shutil.copy(cli.db, cli.folder / f"{name}.db")
    commands = {"help": ["--help"]}
    for n in FAULTY:
        commands[n] = ["classify", "1", "2", "--db", f"{n}.db", "--classifier", n, "--force", "--offline", "-o", "csv"]
    said = each(cli, site, commands | {"list": ["list", "--db", "raises.db", "-o", "csv"]})
    for name, (_, code, sentence) in FAULTY.items():
        assert (name, said[name].code) == (name, code), said[name].stderr
        assert sentence in said[name].stderr, name
        assert "Traceback" not in said[name].stderr
        assert len(said[name].stderr) < 2_000
        assert "hello" not in said[name].stdout
    assert said["one"].stdout.count(",classified,") + said["one"].stdout.count(",needs_review,") == 1, (
        "the other ticket"
    )
    assert len(said["list"].stdout.splitlines()) == 3
    assert said["help"].code == 0


SENDING = """
from triage_cli.plugins import Destination, Refused
class It(Destination):
    uses_network = False
    def __init__(self, *, key): self.key = key
    def deliver(self, payload):
        raise (Refused if payload["ticket"]["external_id"] == "1" else OSError)(f"no, {self.key} " + "x" * 10_000)
"""


def test_a_destination_that_fails_keeps_its_deliveries_and_its_secrets(filled: Cli, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "sender", SENDING, {"destination.chat": "It", "destination.file": "It", "source.x": "It"})
    install(site, "second", SENDING, {"source.x": "It"})
    routes = "routes: [{when: {category: Billing}, to: chat}, {to: chat}]"
    entry = "destinations:\n  chat: {type: chat, key_env: CHAT_KEY, max_attempts: 1}\n"
    (filled.folder / "config.yaml").write_text(f"{entry}{routes}\n")
    env = {"PYTHONPATH": str(site), "CHAT_KEY": "very-secret-key"}
    filled("classify", "-q", **env)
    sent = filled("route", **env)
    assert sent.returncode == 3
    assert "the plug-in sender 1.0 (destination chat) raised OSError" in sent.stderr
    shown = sent.stderr + filled("logs", **env).stdout + filled("list", "-o", "json", **env).stdout
    shown += filled("doctor", "-o", "csv", **env).stdout
    assert "very-secret-key" not in shown
    assert "the destination file is not used, since triage has one of this name" in shown
    assert "a source of type x is of two plug-ins, second and sender" in shown
    (filled.folder / "config.yaml").write_text(f"{entry.replace('key_env: CHAT_KEY', 'token: abc')}{routes}\n")
    assert "secrets do not belong in this file" in filled("config", "check", **env).stderr


def test_a_destination_that_cannot_be_loaded_waits_and_the_others_get_theirs(filled: Cli, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "sender", "import nothing_of_this_name", {"destination.chat": "It"})
    (filled.folder / "config.yaml").write_text(
        "destinations:\n  chat: {type: chat}\n  queue: {type: file, path: queue.jsonl}\n"
        "routes: [{when: {category: Billing}, to: queue}, {to: chat}]\n"
    )
    filled("classify", "-q", PYTHONPATH=str(site))
    sent = filled("route", PYTHONPATH=str(site))
    assert sent.returncode == 2
    assert "No module named 'nothing_of_this_name'; mend it, or remove it: pip uninstall sender" in sent.stderr
    assert (filled.folder / "queue.jsonl").read_text().count("\n") == 1
    checked = filled("config", "check", PYTHONPATH=str(site))
    assert (checked.returncode, "config.yaml:2: destinations.chat.type" in checked.stderr) == (2, True)


def test_the_destination_of_the_page_delivers_and_what_it_refuses_is_not_tried_again(
    filled: Cli, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "howto" / "plugins.md").read_text()
    found = re.findall(r"^ {3}```\w+\n(.*?)^ {3}```$", page, re.DOTALL | re.MULTILINE)
    module, metadata, config = [textwrap.dedent(block) for block in found]
    [(entry, (package, name))] = [
        (key, value.split(":")) for key, value in tomllib.loads(metadata)["project"]["entry-points"][GROUP].items()
    ]
    site = tmp_path / "site"
    install(site, package, module.replace("https://", "http://"), {entry: name})
    (filled.folder / "config.yaml").write_text(config)
    with closing(HttpStub(lambda got: Reply(404 if "Billing" in got.json["text"] else 200))) as chat:
        env = {"PYTHONPATH": str(site), "CHAT_ADDRESS": f"{chat.root}/hooks/x7"}
        filled("classify", "-q", **env)
        codes = [filled("route", **env).returncode for _ in range(2)]
    assert codes == [3, 0], "what was refused is not sent again"
    assert {got.json["room"] for got in chat.got} == {"billing"}
    told = filled("why", "A-1", **env).stdout
    assert ("answered 404" in told, "/hooks/" in told) == (True, False)


TELLING = """
from triage_cli.plugins import Destination
class Writer(Destination):
    uses_network = False
    def deliver(self, payload): raise OSError(payload["ticket"]["subject"].upper())
"""


def test_what_a_destination_said_of_a_ticket_is_erased_with_it(filled: Cli, tmp_path: Path) -> None:
    install(tmp_path / "site", "telling", TELLING, {"destination.writer": "Writer"})
    config = "destinations: {out: {type: writer}}\nroutes: [{when: {category: Billing}, to: out}]\n"
    (filled.folder / "config.yaml").write_text(config)
    env = {"PYTHONPATH": str(tmp_path / "site")}
    filled("run", "-q", stdin="id,customer,subject\n71,C-71,Refund of a turquoise invoice\n", **env)
    assert "it said: REFUND OF A TURQUOISE INVOICE" in filled("why", "71", **env).stdout
    assert filled("forget", "--customer-id", "C-71", "--yes", **env).returncode == 0
    left = b"".join(path.read_bytes() for path in filled.db.parent.iterdir() if path.is_file())
    assert b"turquoise" not in left.lower()
