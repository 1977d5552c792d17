"""The network as most tests have it: switched on, though nothing in them leaves this machine."""

import os

from triage_cli.runtime.network import Network

ONLINE = Network(offline=False)

# The authorities that the environment names, for programs that ask an index of packages. The tests go without: each of
# their clients would read all certificates of the system.
AUTHORITIES = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
