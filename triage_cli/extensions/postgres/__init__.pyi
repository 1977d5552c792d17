# What other folders import from this one.

from triage_cli.extensions.postgres.dialect import DialectConnection as DialectConnection
from triage_cli.extensions.postgres.dialect import adapt as adapt
from triage_cli.extensions.postgres.dialect import storable as storable
from triage_cli.extensions.postgres.dialect import translated as translated
from triage_cli.extensions.postgres.migrations import tables as tables
from triage_cli.extensions.postgres.store import PostgresStore as PostgresStore
from triage_cli.extensions.postgres.trail import ServerTrail as ServerTrail

from . import database as database
from . import migrations as migrations
from . import queries as queries
