"""An agent's side of `triage mcp`: a client of the official SDK, in this process or over the stdio of another one."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import Implementation, TextContent, Tool

from tests.support.cli import Cli
from tests.support.forked_cli import forked
from triage_cli.extensions.mcp import AgentServer

NAME = Implementation(name="claude code", version="1.0")


class Agent:
    """Calls tools; an error of a tool is raised as `ToolFailedError`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def tools(self) -> dict[str, Tool]:
        """Return the tools by their names."""
        return {tool.name: tool for tool in (await self.client.list_tools()).tools}

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured answer of a tool."""
        result = await self.client.call_tool(tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        if result.is_error:
            raise ToolFailedError(content.text)
        answer: dict[str, Any] | None = result.structured_content
        assert answer is not None
        return answer


class ToolFailedError(Exception):
    """What a tool answered in place of a result."""


def in_process(server: AgentServer, script: Callable[[Agent], Awaitable[None]]) -> None:
    """Let an agent work with a server of this process."""

    async def run() -> None:
        async with Client(server, client_info=NAME) as client:
            await script(Agent(client))

    anyio.run(run)


@contextmanager
def connected(server: AgentServer) -> Iterator[Callable[..., dict[str, Any]]]:
    """Connect an agent to a server of this process; what is yielded calls a tool. Raises `ToolFailedError`."""
    connection = Client(server, client_info=NAME)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(connection) as client:
        agent = Agent(client)

        def call(tool: str, **arguments: Any) -> dict[str, Any]:
            return portal.call(partial(agent.call, tool, **arguments))

        yield call


async def at_work(cli: Cli, args: Sequence[str], script: Callable[[Agent], Awaitable[None]]) -> str:
    """Let an agent work with a `triage mcp` that it starts; return what the server wrote to stderr."""
    env = {name: value for name, value in cli.env.items() if name != "PYTHONWARNINGS"}  # the forking process has it
    with TemporaryDirectory() as folder, TemporaryFile("w+") as stderr:
        program = forked().program(Path(folder)) / "triage"
        parameters = StdioServerParameters(command=str(program), args=["mcp", *args], env=env, cwd=str(cli.folder))
        async with Client(stdio_client(parameters, errlog=stderr), client_info=NAME) as client:
            await script(Agent(client))
        stderr.seek(0)
        return stderr.read()


def over_stdio(cli: Cli, script: Callable[[Agent], Awaitable[None]], *args: str) -> str:
    """Let an agent work with a `triage mcp` that it starts; return what the server wrote to stderr."""
    return anyio.run(at_work, cli, args, script)
