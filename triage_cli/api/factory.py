"""The HTTP API. `app` makes the application, for your own server or test."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing the package alone should not import FastAPI
    from fastapi import FastAPI


def app(
    *, config: str | None = None, db: str | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "FastAPI":
    """Return the application as `triage serve` serves it, for `uvicorn --factory triage_cli.api:app` or a test client.

    `config` and `db` are as on the command line, `env` and `cwd` in place of this process's. A database that is missing
    is made. Raises `ConfigError`, or `StoreError` for a database that cannot be used.
    """
    import os

    from triage_cli.api.application import create_app
    from triage_cli.api.server_state import open_server_state
    from triage_cli.config import load_config

    env = os.environ if env is None else env
    loaded = load_config(config=config, db=db, env=env, cwd=cwd or Path.cwd())
    return create_app(open_server_state(loaded, env))
