"""`triage serve`: serves the HTTP API, and sends deliveries that fall due."""

import gc
import logging
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import CommandContext, flag, local_command, messages, option, options, terminal, typed_commands
from triage_cli.runtime import is_loopback, show_what_is_said, take_all_files, with_extra

if TYPE_CHECKING:  # an annotation is no reason to import FastAPI
    from triage_cli.extensions.server.server import ServerSettings

ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")


@local_command
def serve(
    context: CommandContext,
    host: Annotated[str, option("ADDRESS", "Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    ssl_certfile: Annotated[Path | None, typer.Option(help="The certificate for https.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="The certificate's key.")] = None,
    behind_proxy: Annotated[bool, flag("--behind-proxy", "A gateway in front of the server does https.")] = False,
    workers: Annotated[int, option("N", "Processes that share the port.", min=1, max=64)] = 1,
    root_path: Annotated[str, option("PATH", "The path below which a gateway shows the API.")] = "",
    keep_alive: Annotated[int, option("SECONDS", "How long an idle connection stays open.", min=1, max=86_400)] = 75,
    drain: Annotated[
        float, option("SECONDS", "How long it still serves requests after a signal.", min=0, max=3600)
    ] = 0.0,
    routes: options.Routes = None,
) -> int:
    """Serve the HTTP API until a signal comes, and send the deliveries that fall due meanwhile.

    \b
    triage keys create ada --role agent
    triage serve                         http://127.0.0.1:8000/docs describes it
    """
    context.use_routes(routes)
    if ssl_keyfile and not ssl_certfile:
        raise dm.UsageError("--ssl-keyfile is given without --ssl-certfile", hint="give both")
    if not (ssl_certfile or behind_proxy or is_loopback(host)):
        raise dm.UsageError(
            f"{host} is reached by other machines, and keys would be sent unencrypted",
            hint="give --ssl-certfile and --ssl-keyfile, or --behind-proxy if a gateway in front of this ends TLS",
        )
    try:
        import fastapi  # noqa: F401 - only to tell what is missing
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise dm.UsageError("the server is not installed", hint=with_extra("server")) from error
    from triage_cli.extensions.server import SOCKET_FD_ENV, server_key_digest, written_log
    from triage_cli.extensions.server import server as api_server

    if root_path and not ROOT_PATH.fullmatch(root_path):
        raise dm.UsageError(f'--root-path "{root_path}" is no path', hint="it begins with a slash and ends without one")
    server_key_digest(os.environ)  # so that a wrong one ends this process, and not each worker
    wiring.destinations.check_templates(context.config)
    take_all_files()
    gc.set_threshold(5_000, 10, 10)  # a server runs for long, and requests leave cycles behind
    # Of the process that started this one.
    inherited_fd = int(os.environ[SOCKET_FD_ENV]) if SOCKET_FD_ENV in os.environ else None
    settings = api_server.ServerSettings(
        host, port, ssl_certfile, ssl_keyfile, behind_proxy, inherited_fd, root_path.rstrip("/"), keep_alive, drain
    )
    with written_log(sys.stderr, quiet=context.quiet):
        return _served(context, settings, workers)


def _pages(context: CommandContext, url: str) -> str:
    """Say where a server has pages for a browser."""
    return f"described at {url}/docs{f', for people at {url}/app' if context.config.app else ''}"


def _served(context: CommandContext, settings: "ServerSettings", workers: int) -> int:
    """Serve until a signal comes; return the exit code."""
    from triage_cli.extensions.server import server as api_server
    from triage_cli.extensions.server.worker_processes import WorkerProcesses, follow_parent

    tell = partial(_tell, context)
    if context.global_options.verbose:
        show_what_is_said(tell)
    if workers > 1 and settings.fd is None:
        listening_socket = api_server.open_socket(settings.host, settings.port)
        worker_processes = WorkerProcesses(listening_socket, sys.argv[1:], workers)
        context.stopper.watch(worker_processes.stop)
        serving_url = api_server.url_of(listening_socket, is_tls=settings.certificate is not None)
        _warn_at_start(context)
        tell(f"serving {serving_url}, by {workers} processes, {_pages(context, serving_url)}; Ctrl-C ends it")
        return worker_processes.serve_until_stopped()
    http_server = api_server.listening_server(context.config, settings, tell)
    context.stopper.watch(http_server.stop)
    if settings.fd is None:
        _warn_at_start(context)
        tell(f"serving {http_server.url}, {_pages(context, http_server.url)}; Ctrl-C ends it")
    else:
        follow_parent(http_server.begun, http_server.stop)
    http_server.serve_until_stopped()
    return 0


def _tell(context: CommandContext, text: str) -> None:
    """Tell a person at a terminal, else the log, which is JSON to the last line."""
    from triage_cli.extensions.server.server_log import error_log

    is_warning = text.startswith("warning: ")
    if not terminal.is_terminal(sys.stderr):
        error_log.log(
            logging.WARNING if is_warning else logging.INFO,
            "%s",
            typed_commands.as_typed(text.removeprefix("warning: ")),
        )
    elif is_warning:
        messages.say(text)
    else:
        context.say(text)


def _warn_at_start(context: CommandContext) -> None:
    """Warn at the start of a server about destinations that get nothing, and note if there is no API key."""
    for name in context.config.destinations:
        for warning in wiring.destination_diagnostics.destination_warnings(context.config, name):
            _tell(context, f"warning: {warning}")
    store = wiring.stores.open_store(context.config)
    has_other_callers = context.config.oidc is not None or bool(os.environ.get(dm.api_keys.SERVER_KEY))
    if not has_other_callers and not (store.is_there() and wiring.stores.open_api_access(store).keys()):
        _tell(context, "note: there is no key yet; triage keys create NAME --role agent makes one")
    store.close()
