# What other folders import from this one.

from triage_cli.extensions.mcp.command import mcp as mcp
from triage_cli.extensions.mcp.server import AgentServer as AgentServer
from triage_cli.extensions.mcp.server import serve_agents as serve_agents
from triage_cli.extensions.mcp.tool_answers import EXTRA_LENGTH as EXTRA_LENGTH
from triage_cli.extensions.mcp.tool_answers import INSTRUCTIONS as INSTRUCTIONS
from triage_cli.extensions.mcp.tool_answers import PAGE_LENGTH as PAGE_LENGTH

from . import tool_answers as tool_answers
