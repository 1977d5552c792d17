"""`triage mcp`: an MCP server over stdin."""

import sys
from typing import Annotated

from triage_cli import domain as dm
from triage_cli.cli import CommandContext, flag, option, remote_command, terminal
from triage_cli.runtime import with_extra


@remote_command
def mcp(
    context: CommandContext,
    allow_writes: Annotated[bool, flag("--allow-writes", "Let agents create tickets and suggest categories.")] = False,
    max_cost: Annotated[float, option("USD", "The most that classifying texts may cost in total.", min=0.0)] = 1.0,
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
        raise dm.UsageError("the MCP server is not installed", hint=with_extra("mcp")) from error
    from triage_cli.extensions.mcp.server import AgentServer, serve_agents

    agent_server = AgentServer(context.triage, context.consultation, max_cost=max_cost, allow_writes=allow_writes)
    if terminal.is_terminal(sys.stdin):
        context.say("this speaks MCP over stdin and stdout, so an agent's host is to start it; Ctrl-C ends it")
    serve_agents(agent_server, context.stopper.watch, verbose=bool(context.global_options.verbose))
    return 0
