"""The network as most tests have it: switched on, though nothing in them leaves this machine."""

from triage_cli.runtime.network import Network

ONLINE = Network(offline=False)
