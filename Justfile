# Recipes for development; `just` lists them.

python := ".venv/bin/python"
export PYTHONDONTWRITEBYTECODE := ""  # else each worker compiles pytest's plugins anew

_default:
    @"{{just_executable()}}" --list

# Make .venv with everything for development
setup:
    python3 -m venv .venv
    {{python}} -m pip install -q -e '.[dev]'

# Unit and contract tests, without the slow ones: about half a minute on two cores
fast:
    {{python}} -m pytest -n auto -m 'not long and not slow' tests/unit tests/contract

# Everything, as CI runs it; more words are passed on to pytest
test *words:
    {{python}} -m pytest -n auto {{words}}

# PostgreSQL keeps the real clock, since its own timeouts never end under faketime, and compares leases with it: tests
# on it are left out, and their bodies run on SQLite.
# Everything with a clock that is 60 and 400 days ahead; takes the package faketime and twice the time of `just test`
calendar *words:
    for days in 60 400; do \
        NO_FAKE_STAT=1 FAKETIME_SKIP_CMDS=postgres,pg_ctl,initdb \
        faketime --disable-shm --exclude-monotonic -f "+${days}d" {{python}} -m pytest -n auto -k 'not postgres' {{words}} || exit; \
    done

# Linters, formatter, layers of imports
lint:
    {{python}} -m ruff check .
    {{python}} -m ruff format --check .
    .venv/bin/lint-imports

# Types of code, tests and benchmarks
types:
    {{python}} -m mypy

# Links, configurations and commands of the documentation
docs:
    {{python}} -m pytest -n auto tests/project/test_docs.py tests/project/test_reference.py tests/e2e/test_documented_commands.py

# Write golden files, the API's description and the pages' outputs anew; then read the diff
golden:
    TRIAGE_GOLDEN=write {{python}} -m pytest tests/project/test_api_description.py
    TRIAGE_GOLDEN=write {{python}} -m pytest -n auto tests/project/test_reference.py tests/e2e/test_golden.py tests/unit/test_prompt.py
    TRIAGE_GOLDEN=write {{python}} -m pytest -n auto tests/e2e/test_documented_commands.py

# Draw the pictures of the terminal in docs/ anew
pictures:
    {{python}} tools/pictures.py

# Fit the model of the default categories that comes with the package
model:
    {{python}} tools/make_default_model.py

# Write the lock of the server (the image and CI install it by hash) and the list of its licences anew
lock:
    .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "just lock" --extra server --extra postgres --extra oidc pyproject.toml -o requirements-server.lock
    {{python}} tools/licences.py

# Wheel, source archive, SBOM, notes and hashes of the version in pyproject.toml, in dist/; an image where docker or podman is
release:
    {{python}} -m tools.release

# Linters and importers of the API's description, and the clients that generators make of it: takes npm and Java
clients:
    {{python}} -m pytest -m long -rs tests/e2e/test_api_generators.py

# Compare whole commands with their peers
bench:
    {{python}} -m benchmarks.commands
