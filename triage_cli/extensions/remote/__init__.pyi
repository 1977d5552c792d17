# What other folders import from this one.

from triage_cli.extensions.remote.http_connection import Address as Address
from triage_cli.extensions.remote.http_connection import ConnectionLostError as ConnectionLostError
from triage_cli.extensions.remote.http_connection import checked_address as checked_address
from triage_cli.extensions.remote.instance import RemoteInstance as RemoteInstance
from triage_cli.extensions.remote.remote_analysis import RemoteAnalysis as RemoteAnalysis
from triage_cli.extensions.remote.remote_triage import RemoteConsultation as RemoteConsultation
from triage_cli.extensions.remote.remote_triage import RemoteKeyRing as RemoteKeyRing
from triage_cli.extensions.remote.remote_triage import RemoteTriage as RemoteTriage

from . import http_connection as http_connection
from . import remote_triage as remote_triage
from . import upload as upload
