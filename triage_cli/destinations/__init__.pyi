# What other folders import from this one.

from triage_cli.destinations.command import CommandDestination as CommandDestination
from triage_cli.destinations.file import FileDestination as FileDestination
from triage_cli.destinations.payload import attempted as attempted
from triage_cli.destinations.payload import not_renderable as not_renderable
from triage_cli.destinations.payload import payload_line as payload_line
from triage_cli.destinations.payload import template_values as template_values
