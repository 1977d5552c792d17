# What other folders import from this one.

from triage_cli.extensions.plugins.classifier import plugin_classifier as plugin_classifier
from triage_cli.extensions.plugins.command import plugin_command as plugin_command
from triage_cli.extensions.plugins.command import plugin_key as plugin_key
from triage_cli.extensions.plugins.destination import PluginDestinationType as PluginDestinationType
from triage_cli.extensions.plugins.source import PluginSourceType as PluginSourceType
