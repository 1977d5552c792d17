"""The API in the hands of tools that nobody here wrote: HTTPie, schemathesis, a generated client."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.online import AUTHORITIES
from triage_cli.ports import operations

BIN = Path(sys.executable).parent
HERE = Path(__file__).parents[1]
FORBIDDEN = """
[[operations]]  # for an agent
include-name = [
  "DELETE /keys/{name}", "GET /keys", "GET /runs", "POST /audit/verify", "POST /forget", "POST /keys",
  "POST /keys/{name}/rotate", ADMIN_OPERATIONS,
]
""".replace(
    "ADMIN_OPERATIONS",
    ", ".join(f'"POST {operations.PATH}{name}"' for name, role in operations.ROLES.items() if role == "admin"),
)
CONFIG = "webhooks:\n  desk: {type: standard, secret_env: DESK, fields: {subject: title}}\n"


@pytest.fixture
def server(tmp_path: Path, fitted_database: Path) -> Iterator[ApiServer]:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    with running_server(tmp_path, config=CONFIG, env={"DESK": "secret"}) as running:
        yield running


def test_a_session_with_httpie(server: ApiServer) -> None:
    def http(*args: str) -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            [BIN / "http", "--ignore-stdin", "--print=hb", *args, f"X-API-Key:{server.keys['agent']}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        return int(head.split()[1]), json.loads(body)

    url = server.url
    fields = ("subject=Refund?", "description=I was charged twice", "customer_id=C-9", "priority=high")
    status, made = http("POST", f"{url}/tickets", *fields)
    assert (status, list(made)) == (201, ["ticket_id", "ticket"])
    path = f"{url}/tickets/{made['ticket_id']}"
    status, answer = http("POST", f"{path}/classify")
    assert (status, answer["ticket_id"], answer["classification"]) == (200, made["ticket_id"], "Billing")
    assert {"confidence", "reason", "status"} <= answer.keys()
    status, sent = http("POST", f"{path}/route")
    assert (status, sent["routed_to"], sent["status"]) == (200, "Billing", "routed")
    status, events = http("GET", f"{path}/logs")
    assert (status, [e["action"] for e in events]) == (200, ["created", "classified", "routed", "delivered"])  # type: ignore[index]


def test_schemathesis_finds_nothing(server: ApiServer, tmp_path: Path) -> None:
    """All its checks in all its phases; the cases of a run are always the same ones.

    What an agent may not do is refused alike whatever is asked: it is asked for once.
    """
    check_by_schemathesis(server, tmp_path, "agent", 1, f"{FORBIDDEN}phases.coverage.enabled = false\n")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("role", ["reader", "agent", "admin"])
def test_schemathesis_finds_nothing_with_any_role_in_many_cases(server: ApiServer, tmp_path: Path, role: str) -> None:
    check_by_schemathesis(server, tmp_path, role, 50)


def check_by_schemathesis(server: ApiServer, folder: Path, role: str, examples: int, settings: str = "") -> None:
    """Run schemathesis with the key of a role: so many cases an operation in its phase of random ones; more settings.

    One worker: with several, Python 3.11 loses count of its recursion in the ast module that schemathesis uses.
    """
    with server.client() as client:
        for number in range(3):
            client.post("/tickets", json={"subject": f"Refund {number}", "external_id": f"E-{number}"})
    usual = (HERE / "schemathesis" / "schemathesis.toml").read_text(encoding="utf-8")
    (folder / "schemathesis.toml").write_text(usual + settings, encoding="utf-8")
    done = subprocess.run(
        [
            BIN / "st", "--config-file", folder / "schemathesis.toml", "run", f"{server.url}/openapi.json",
            "-H", f"X-API-Key: {server.keys[role]}", "--checks", "all", "--no-color", "--generation-deterministic",
            "--max-examples", f"{examples}", "--workers", "1", "--suppress-health-check", "all",
        ],
        capture_output=True, text=True, check=False, cwd=HERE / "schemathesis",
        env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE / "schemathesis")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 500
    assert found[1] == found[2]


def test_a_generated_client_works(server: ApiServer, tmp_path: Path) -> None:
    """The generator and the client stand in an environment of their own: they pin what we use in another version."""
    uvx: list[str | Path] = [BIN / "uv", "tool", "run", "--python", sys.executable, "--from", "openapi-python-client"]
    generate: list[str | Path] = ["openapi-python-client", "generate", "--path", HERE.parent / "openapi.json"]
    made = subprocess.run(
        [*uvx, *generate, "--meta", "none", "--output-path", tmp_path / "triage_client"],
        capture_output=True, text=True, check=False, env=os.environ | AUTHORITIES,
    )  # fmt: skip
    assert made.returncode == 0, f"NO CLIENT WAS GENERATED (this takes the package index): {made.stdout}{made.stderr}"
    # It knows no type of tables but bytes, and says so; everything else it generates whole.
    warnings = re.findall(r"WARNING parsing (.*)\n\n(.*)", made.stdout + made.stderr)
    assert {where for where, _ in warnings} <= {"POST /tickets/batch within bulk."}
    assert all(what.startswith("Unsupported content type") for _, what in warnings)
    program = HERE / "generated_clients" / "openapi_python_client.py"
    done = subprocess.run(
        [*uvx, "python", program, server.url, server.keys["agent"]],
        capture_output=True, text=True, check=False, env=os.environ | AUTHORITIES | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {**json.loads(done.stdout), "ticket": ""} == {
        "ticket": "", "classification": "Billing", "routed": "routed", "unknown": "not_found", "lines": 3,
        "actions": ["created", "classified", "routed", "delivered"],
    }  # fmt: skip
