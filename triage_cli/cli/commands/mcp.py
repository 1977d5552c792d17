"""`triage mcp`: an MCP server over stdin and stdout, for an agent's host to start."""

import sys
from typing import Annotated

import typer

from triage_cli.cli import terminal
from triage_cli.cli.command import remote_command
from triage_cli.cli.context import CommandContext
from triage_cli.domain import UsageError
from triage_cli.runtime import with_extra


@remote_command
def mcp(
    session: CommandContext,
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="Let agents create tickets and suggest categories.")
    ] = False,
    max_cost: Annotated[
        float, typer.Option(min=0.0, metavar="USD", help="The most that classifying texts may cost in total.")
    ] = 1.0,
) -> int:
    """Let an agent read tickets, ask why, preview routes and classify texts, over the Model Context Protocol.

    An agent's host starts it, and talks to it over stdin and stdout. It changes nothing, unless --allow-writes is
    given; no agent can give a verdict.

    \b
    claude mcp add triage -- triage mcp
    triage mcp --remote https://triage.example.com --allow-writes
    """
    try:
        import mcp.server  # noqa: F401 - only to tell what is missing
    except ImportError as error:
        raise UsageError("the MCP server is not installed", hint=with_extra("mcp")) from error
    from triage_cli.mcp_server import AgentServer, serve

    agent_server = AgentServer(session.triage, session.consultation, max_cost=max_cost, allow_writes=allow_writes)
    if terminal.is_terminal(sys.stdin):
        session.say("this speaks MCP over stdin and stdout, so an agent's host is to start it; Ctrl-C ends it")
    serve(agent_server, session.stopper.watch, verbose=bool(session.global_options.verbose))
    return 0
