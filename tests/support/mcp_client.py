"""An agent's side of `triage mcp`: a client of the official SDK, in this process or over the stdio of another one."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import Implementation, TextContent, Tool

from triage_cli.agents.server import AgentServer

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


def calls(server: AgentServer, tool: str, **arguments: Any) -> dict[str, Any]:
    """Return what one tool of a server answers. Raises `ToolFailedError`."""
    found: list[dict[str, Any] | ToolFailedError] = []

    async def script(agent: Agent) -> None:
        try:
            found.append(await agent.call(tool, **arguments))
        except ToolFailedError as failed:
            found.append(failed)

    in_process(server, script)
    (answer,) = found
    if isinstance(answer, ToolFailedError):
        raise answer
    return answer


def over_stdio(
    command: str,
    args: list[str],
    env: Mapping[str, str],
    folder: Path,
    script: Callable[[Agent], Awaitable[None]],
    stderr: TextIO,
) -> None:
    """Let an agent work with a server that it starts."""
    parameters = StdioServerParameters(command=command, args=args, env=dict(env), cwd=str(folder))

    async def run() -> None:
        async with Client(stdio_client(parameters, errlog=stderr), client_info=NAME) as client:
            await script(Agent(client))

    anyio.run(run)
