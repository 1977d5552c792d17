# What other folders import from this one.

from triage_cli.mcp_server.server import AgentServer as AgentServer
from triage_cli.mcp_server.server import serve_agents as serve_agents
from triage_cli.mcp_server.tool_answers import EXTRA_LENGTH as EXTRA_LENGTH
from triage_cli.mcp_server.tool_answers import INSTRUCTIONS as INSTRUCTIONS
from triage_cli.mcp_server.tool_answers import PAGE_LENGTH as PAGE_LENGTH

from . import tool_answers as tool_answers
