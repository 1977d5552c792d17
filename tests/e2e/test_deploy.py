"""What stands in deploy/: closed containers, commands and variables that exist, and a night of the composed stack."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.cli import Cli
from tests.support.pages import ROOT
from tests.support.pg_server import PgServer, sql
from tests.support.serve_command import serve_command
from triage_cli.cli import HEADINGS
from triage_cli.config import load_config

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = [
    each for file in sorted((DEPLOY / "kubernetes").iterdir()) for each in yaml.safe_load_all(file.read_text())
]
COMMANDS = {name for group in HEADINGS.values() for name in group}
CONFIG = {each["metadata"]["name"]: each for each in KUBERNETES}["triage-config"]["data"]["config.yaml"]


def pods() -> Iterator[dict[str, Any]]:
    for each in KUBERNETES:
        spec = each.get("spec", {})
        template = spec.get("jobTemplate", {"spec": spec})["spec"].get("template")
        if template:
            yield template["spec"]


def known_variables() -> set[str]:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    return set(re.findall(r"`(TRIAGE_[A-Z_]+)`", page)) | {"PGPASSWORD", "NIGHTLY_HEARTBEAT_URL"}


def test_each_pod_is_of_the_restricted_profile_and_runs_what_there_is(tmp_path: Path) -> None:
    assert len(list(pods())) == 3
    paths = json.loads((ROOT / "openapi.json").read_text())["paths"]
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == closed
        assert container["args"][0] in COMMANDS
        assert {each["name"] for each in container["env"]} <= known_variables()
        probes = {probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
        assert probes <= paths.keys()
        assert probes == ({"/health", "/ready"} if container["args"][0] == "serve" else set())
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    env = {"HOME": str(tmp_path)}
    assert load_config(config=str(file), db=None, env=env, cwd=tmp_path).secret_variables >= {"DESK_WEBHOOK_SECRET"}


def own_services() -> dict[str, dict[str, Any]]:
    return {name: each for name, each in COMPOSE["services"].items() if "TRIAGE_DB" in each.get("environment", ())}


def test_each_container_of_the_stack_is_closed_and_its_files_are_there() -> None:
    assert own_services().keys() == {"server", "nightly", "migrate"}
    for service in own_services().values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["environment"].keys() <= known_variables()
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            place = volume.partition(":")[0]
            assert place in COMPOSE["volumes"] or place == "./config.yaml" or (DEPLOY / place).is_file(), volume


@pytest.mark.long
def test_a_night_of_the_composed_stack(cli: Cli, pg_server: PgServer) -> None:
    """Its processes, with their commands and variables, and a database in the place of the container."""
    (cli.folder / "config.yaml").write_text("nightly: {max_age: 1d}\n")
    url = pg_server.database()
    real = {"TRIAGE_DB": url, "TRIAGE_CONFIG": str(cli.folder / "config.yaml"), "TRIAGE_SERVER_KEY": "k" * 40}

    def variables(service: Mapping[str, Any]) -> dict[str, str]:
        return {name: real[name] for name in service["environment"] if name in real}

    services = own_services()
    cli.env |= variables(services["server"])
    options = ["127.0.0.1" if word == "0.0.0.0" else word for word in services["server"]["command"][1:]]  # noqa: S104
    options[options.index("--drain") + 1] = "0"
    headers = {"X-API-Key": real["TRIAGE_SERVER_KEY"]}
    with (
        serve_command(cli, *options) as (_, address, _log),
        httpx.Client(base_url=address, headers=headers) as client,
    ):
        assert client.get("/ready").status_code == 200
        assert client.post("/tickets", json={"subject": "I was charged twice, please refund"}).status_code == 201
        for name in ("nightly", "migrate"):
            done = cli(*services[name]["command"], **variables(services[name]))
            assert (done.returncode, name == "migrate" or done.stdout == "") == (0, True), (name, done.stderr)
        assert sql(url, "select status from tickets_v") == [("routed",)]
        assert client.get("/metrics").status_code == 200


@pytest.mark.skipif(not shutil.which("promtool"), reason="this machine has no promtool")
def test_prometheus_takes_the_alerts_and_the_scrape() -> None:
    for words in (("rules", "triage.rules.yml"), ("config", "--syntax-only", "prometheus.yml")):
        done = subprocess.run(["promtool", "check", *words], cwd=DEPLOY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
