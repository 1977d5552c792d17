# What other folders import from this one.

from triage_cli.client.http_connection import Address as Address
from triage_cli.client.http_connection import ConnectionLostError as ConnectionLostError
from triage_cli.client.http_connection import checked_address as checked_address
from triage_cli.client.remote_analysis import RemoteAnalysis as RemoteAnalysis
from triage_cli.client.remote_triage import RemoteConsultation as RemoteConsultation
from triage_cli.client.remote_triage import RemoteKeyRing as RemoteKeyRing
from triage_cli.client.remote_triage import RemoteTriage as RemoteTriage
from triage_cli.client.wire_format import DRAFTS_MEDIA_TYPE as DRAFTS_MEDIA_TYPE
from triage_cli.client.wire_format import LINES_MEDIA_TYPE as LINES_MEDIA_TYPE

from . import http_connection as http_connection
from . import remote_triage as remote_triage
from . import upload as upload
from . import wire_format as wire_format
