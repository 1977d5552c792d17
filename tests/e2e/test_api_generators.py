"""The description in the hands of linters, generators of clients and importers, none with settings of ours.

The generated clients run against a server. What is not there is skipped, with the reason: pytest -m long -rs.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.clock import CLOCK
from tests.support.node_tools import NodeTools, node_tools
from tests.support.online import AUTHORITIES

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), pytest.mark.xdist_group("generators")]
HERE = Path(__file__).parents[1]
PROGRAMS = HERE / "generated_clients"
DESCRIPTION = HERE.parent / "openapi.json"
UV = Path(sys.executable).parent / "uv"
# The version that is run, with what its clients need.
OPENAPI_GENERATOR = "openapi-generator-cli==7.26.0"
PYTHON_CLIENT_NEEDS = ("urllib3", "python-dateutil", "pydantic", "typing-extensions", "lazy-imports")
# Where Debian's package php-guzzlehttp-guzzle has what the PHP client needs.
GUZZLE = Path("/usr/share/php/GuzzleHttp/autoload.php")
# What linters warn of, and why it stays.
EXPLAINED = {"operation-4xx-response": "/health and /ready take no key and no input: no request is wrong"}
# The names of questions are keys of the groups of counts, which the description cannot name.
QUESTIONS = "questions: {urgency: {values: [now, later], classifier: local}}\n"
TSC = (
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--target",
    "es2022",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeTools:
    return node_tools(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with OpenAPI Generator, whose wheel contains its JAR."""
    if shutil.which("java") is None:
        pytest.skip("there is no Java: OPENAPI GENERATOR WAS NOT TRIED")
    folder = tmp_path_factory.mktemp("generator")
    python = folder / "bin" / "python"
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, "--allow-existing", folder], check=True)
    install: list[str | Path] = [UV, "pip", "install", "-q", "--system-certs", "--python", python, OPENAPI_GENERATOR]
    done = subprocess.run(
        [*install, *PYTHON_CLIENT_NEEDS], capture_output=True, text=True, check=False, env=os.environ | AUTHORITIES
    )
    if done.returncode:
        pytest.skip(f"no index of packages: OPENAPI GENERATOR WAS NOT TRIED: {done.stderr}")
    return python


@pytest.fixture
def server(tmp_path: Path, fitted_database: Path) -> Iterator[ApiServer]:
    shutil.copy(fitted_database, tmp_path / "triage.db")
    with running_server(tmp_path, config=QUESTIONS) as running:
        yield running


def generated(generator: Path, name: str, folder: Path) -> Path:
    """Return the folder of a client that OpenAPI Generator generates."""
    at = folder / name
    command: list[str | Path] = [
        generator.parent / "openapi-generator-cli",
        "generate",
        "-i",
        DESCRIPTION,
        "-g",
        name,
        "-o",
        at,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return at


def check_answers(done: subprocess.CompletedProcess[str]) -> None:
    """Compare what a program printed with what the article's steps answer."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert {**json.loads(done.stdout), "ticket": ""} == {
        "ticket": "",
        "classification": "Billing",
        "routed": "routed",
        "actions": ["created", "classified", "routed", "delivered"],
        "unknown": "not_found",
        "lines": 3,
    }


def test_redocly_has_no_error_and_only_explained_warnings(node: NodeTools) -> None:
    done = node.run("redocly", "lint", "--extends", "recommended", "--format", "json", DESCRIPTION)
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["totals"]["errors"] == 0, done.stdout
    assert {problem["ruleId"] for problem in found["problems"]} <= EXPLAINED.keys(), done.stdout


def test_spectral_has_nothing_to_say(node: NodeTools) -> None:
    (node.folder / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    done = node.run("spectral", "lint", "--format", "json", "--quiet", DESCRIPTION)
    assert (done.returncode, json.loads(done.stdout[: done.stdout.rindex("]") + 1])) == (0, []), done.stdout


def test_openapi_generators_python_client_works(generator: Path, server: ApiServer, tmp_path: Path) -> None:
    made = generated(generator, "python", tmp_path)
    command: list[str | Path] = [generator, PROGRAMS / "openapi_generator_python.py", server.url, server.keys["agent"]]
    check_answers(
        subprocess.run(command, capture_output=True, text=True, check=False, env=CLOCK | {"PYTHONPATH": str(made)})
    )


def test_openapi_generators_go_client_compiles_and_works(generator: Path, server: ApiServer, tmp_path: Path) -> None:
    go = found("go")
    made = generated(generator, "go", tmp_path)
    (made / "steps").mkdir()
    shutil.copy(PROGRAMS / "openapi_generator_go.go", made / "steps")
    environment = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    command = [go, "run", "./steps", server.url, server.keys["agent"]]
    check_answers(subprocess.run(command, capture_output=True, text=True, check=False, cwd=made, env=environment))


def test_openapi_generators_ruby_client_works(generator: Path, server: ApiServer, tmp_path: Path) -> None:
    ruby = found("ruby")
    if subprocess.run([ruby, "-r", "typhoeus", "-e", ""], capture_output=True, check=False).returncode:
        pytest.skip("there is no Typhoeus: THE RUBY CLIENT WAS NOT TRIED")
    made = generated(generator, "ruby", tmp_path)
    command: list[str | Path] = [
        ruby,
        "-I",
        made / "lib",
        PROGRAMS / "openapi_generator_ruby.rb",
        server.url,
        server.keys["agent"],
    ]
    check_answers(subprocess.run(command, capture_output=True, text=True, check=False))


def test_openapi_generators_php_client_works(generator: Path, server: ApiServer, tmp_path: Path) -> None:
    php = found("php")
    if not GUZZLE.exists():
        pytest.skip("there is no Guzzle: THE PHP CLIENT WAS NOT TRIED")
    made = generated(generator, "php", tmp_path)
    command: list[str | Path] = [
        php,
        PROGRAMS / "openapi_generator_php.php",
        server.url,
        server.keys["agent"],
        made,
        GUZZLE,
    ]
    check_answers(subprocess.run(command, capture_output=True, text=True, check=False))


def found(program: str) -> str:
    """Return where a program is; the test is skipped where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"there is no {program}: ITS CLIENT WAS NOT TRIED")
    return path


def test_openapi_generators_typescript_client_works(
    generator: Path, node: NodeTools, server: ApiServer, tmp_path: Path
) -> None:
    shutil.copytree(generated(generator, "typescript-fetch", tmp_path), node.folder / "typescript-fetch")
    run_typescript(node, server, "typescript_fetch.ts")


def test_openapi_typescript_and_openapi_fetch_work(node: NodeTools, server: ApiServer) -> None:
    done = node.run("openapi-typescript", DESCRIPTION, "-o", "openapi-typescript.ts")
    assert done.returncode == 0, done.stdout + done.stderr
    run_typescript(node, server, "openapi_fetch.ts")


def test_openapi_ts_works(node: NodeTools, server: ApiServer) -> None:
    done = node.run("openapi-ts", "-i", DESCRIPTION, "-o", "openapi-ts")
    assert done.returncode == 0, done.stdout + done.stderr
    run_typescript(node, server, "openapi_ts.ts")


def run_typescript(node: NodeTools, server: ApiServer, name: str) -> None:
    """Check the types of a program and its client, then run it."""
    program = shutil.copy(PROGRAMS / name, node.folder)
    checked = node.run("tsc", *TSC, program)
    assert checked.returncode == 0, checked.stdout
    check_answers(node.run("tsx", program, server.url, server.keys["agent"]))


@pytest.mark.parametrize("language", ["java", "kotlin", "csharp", "rust"])
def test_other_languages_get_a_client_whose_types_have_names(generator: Path, tmp_path: Path, language: str) -> None:
    """Their compilers are not asked for. A schema without a name would become a type such as `TicketIn1Subject`."""
    made = generated(generator, language, tmp_path)
    names = {path.stem.lower().replace("_", "").replace("model", "") for path in made.rglob("*") if path.is_file()}
    assert {"ticketin", "classifyin", "problem"} <= names
    assert not {name for name in names if name.startswith(("ticketin1", "inlineobject", "ticketinsubject"))}


POSTMAN = {
    "Schema": {  # as it imports by itself: texts are "<string>", which say nothing and name no category, webhook or key
        "POST /tickets/%3Cstring%3E/route": 400,
        "POST /tickets/%3Cstring%3E/suggestions": 422,
        "POST /webhooks/%3Cstring%3E": 404,
        "POST /keys/%3Cstring%3E/rotate": 404,
        "DELETE /keys/%3Cstring%3E": 404,
    },
    "Example": {"POST /webhooks/desk": 404},  # there is no sender who signs it
}


@pytest.mark.parametrize("values", POSTMAN)
def test_postman_imports_requests_that_work(node: NodeTools, server: ApiServer, values: str) -> None:
    """Values are made of the schemas, the importer's default, or come from the examples."""
    options = () if values == "Schema" else ("-O", f"parametersResolution={values}")
    made = node.run("openapi2postmanv2", "-s", DESCRIPTION, "-o", "collection.json", *options)
    assert made.returncode == 0, made.stdout + made.stderr
    variables = ["--env-var", f"baseUrl={server.url}", "--env-var", f"apiKey={server.keys['admin']}"]
    reports = ["--reporters", "json", "--reporter-json-export", "newman.json"]
    node.run("newman", "run", "collection.json", *variables, *reports)
    run = json.loads((node.folder / "newman.json").read_text())["run"]
    answers = {
        f"{one['request']['method']} /{'/'.join(one['request']['url']['path'])}": one["response"]["code"]
        for one in run["executions"]
    }
    assert len(answers) >= 29
    refused = {request: status for request, status in answers.items() if not 200 <= status < 300}
    assert refused == POSTMAN[values]
