"""The nightly job as docs/howto/nightly.md has it."""

import re

from tests.support.cli import Cli
from tests.support.llm_server import Asked, LlmServer

WORKERS = 4


def configure(cli: Cli, server: LlmServer, more: str = "", retries: int = 0) -> None:
    (cli.folder / "config.yaml").write_text(
        "classifier: gpt\nclassifiers:\n"
        f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null, workers: {WORKERS},\n"
        f"        max_retries: {retries}, price: {{input: 1000, output: 1000}}}}\n" + more
    )


def tickets(cli: Cli, number: int) -> None:
    table = "id,subject\n" + "".join(f"{n},What about case {n}?\n" for n in range(number))
    assert cli("create", "-q", stdin=table).returncode == 0


def case(asked: Asked) -> int:
    return int(re.findall(r"case (\d+)", asked.ticket)[-1])
