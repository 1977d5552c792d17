"""The network as most tests have it: switched on, though nothing in them leaves this machine."""

import os

from triage_cli.runtime import Network

ONLINE = Network(offline=False)

# The authorities that the environment names, for programs that ask an index of packages. The tests go without: each of
# their clients would read all certificates of the system.
# Workers are given them under another name.
NAMES = {"SSL_CERT_FILE": "OUTER_SSL_CERT_FILE", "SSL_CERT_DIR": "OUTER_SSL_CERT_DIR"}
for name, outer in NAMES.items():
    if name in os.environ:
        os.environ[outer] = os.environ.pop(name)
AUTHORITIES = {name: os.environ[outer] for name, outer in NAMES.items() if outer in os.environ}
