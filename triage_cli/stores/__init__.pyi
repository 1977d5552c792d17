# What other folders import from this one.

import triage_cli.stores.postgres.database
import triage_cli.stores.postgres.migrations
import triage_cli.stores.sqlite.migrations
from triage_cli.stores.api_access import SqlApiAccess as SqlApiAccess
from triage_cli.stores.audit_log import ServerTrail as ServerTrail
from triage_cli.stores.audit_log import trail as trail
from triage_cli.stores.categories import BEARS_CATEGORY as BEARS_CATEGORY
from triage_cli.stores.categories import CategoryMemory as CategoryMemory
from triage_cli.stores.data_migrations import COUNT_ALL as COUNT_ALL
from triage_cli.stores.data_migrations import KEEP_PRECEDENTS as KEEP_PRECEDENTS
from triage_cli.stores.data_migrations import MARK_FORGOTTEN as MARK_FORGOTTEN
from triage_cli.stores.data_migrations import fill_precedents as fill_precedents
from triage_cli.stores.data_migrations import name_precedents as name_precedents
from triage_cli.stores.database import ROWS_PER_STATEMENT as ROWS_PER_STATEMENT
from triage_cli.stores.database import Db as Db
from triage_cli.stores.database import write_all as write_all
from triage_cli.stores.deliveries import NEXT_DUE as NEXT_DUE
from triage_cli.stores.events import EVENTS_PER_PAGE as EVENTS_PER_PAGE
from triage_cli.stores.inflow import SqlInflow as SqlInflow
from triage_cli.stores.migration_steps import FILLED as FILLED
from triage_cli.stores.migration_steps import STEPS as STEPS
from triage_cli.stores.model_registry import SqlModelRegistry as SqlModelRegistry
from triage_cli.stores.postgres import queries as queries
from triage_cli.stores.postgres.copy_from_sqlite import Copied as Copied
from triage_cli.stores.postgres.copy_from_sqlite import copy_database as copy_database
from triage_cli.stores.postgres.dialect import DialectConnection as DialectConnection
from triage_cli.stores.postgres.dialect import adapt as adapt
from triage_cli.stores.postgres.dialect import storable as storable
from triage_cli.stores.postgres.dialect import translated as translated
from triage_cli.stores.postgres.migrations import tables as tables
from triage_cli.stores.postgres.store import PostgresStore as PostgresStore
from triage_cli.stores.runs import DAY as DAY
from triage_cli.stores.runs import SPENT_OF_DAY as SPENT_OF_DAY
from triage_cli.stores.runs import SPENT_ON_PARCEL as SPENT_ON_PARCEL
from triage_cli.stores.sql_store import SqlStore as SqlStore
from triage_cli.stores.sqlite import connection as connection
from triage_cli.stores.sqlite import head_file as head_file
from triage_cli.stores.sqlite import restore as restore
from triage_cli.stores.sqlite import schema as schema
from triage_cli.stores.sqlite import second_half as second_half
from triage_cli.stores.sqlite import store as store
from triage_cli.stores.sqlite.connection import VERSION as VERSION
from triage_cli.stores.sqlite.connection import connect as connect
from triage_cli.stores.sqlite.copies import copies_beside as copies_beside
from triage_cli.stores.sqlite.database import WRITE_ROOM as WRITE_ROOM
from triage_cli.stores.sqlite.head_file import kept_head as kept_head
from triage_cli.stores.sqlite.restore import KeptDatabases as KeptDatabases
from triage_cli.stores.sqlite.restore import Replaced as Replaced
from triage_cli.stores.sqlite.restore import begun_restore as begun_restore
from triage_cli.stores.sqlite.schema import created_tables as created_tables
from triage_cli.stores.sqlite.schema import statements_of as statements_of
from triage_cli.stores.sqlite.store import CLAIMABLE_TICKETS as CLAIMABLE_TICKETS
from triage_cli.stores.sqlite.store import DUE_DELIVERIES as DUE_DELIVERIES
from triage_cli.stores.sqlite.store import UNCLAIMED_TICKET as UNCLAIMED_TICKET
from triage_cli.stores.sqlite.store import SqliteStore as SqliteStore
from triage_cli.stores.tickets import TICKETS_PER_PAGE as TICKETS_PER_PAGE

from . import audit_log as audit_log
from . import where_clauses as where_clauses

postgres_database = triage_cli.stores.postgres.database
postgres_migrations = triage_cli.stores.postgres.migrations
sqlite_migrations = triage_cli.stores.sqlite.migrations
