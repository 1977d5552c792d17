# What other folders import from this one.

import triage_cli.readers.decoding
import triage_cli.readers.mail_files
from triage_cli.readers.cell_values import plain as plain
from triage_cli.readers.cell_values import priority as priority
from triage_cli.readers.cell_values import text_or_none as text_or_none
from triage_cli.readers.column_mapping import UnknownColumnError as UnknownColumnError
from triage_cli.readers.column_mapping import compact as compact
from triage_cli.readers.column_mapping import id_column as id_column
from triage_cli.readers.column_mapping import listing as listing
from triage_cli.readers.column_mapping import match_columns as match_columns
from triage_cli.readers.column_mapping import recognised_helpdesk as recognised_helpdesk
from triage_cli.readers.csv_reader import CsvRecords as CsvRecords
from triage_cli.readers.csv_reader import RowEnd as RowEnd
from triage_cli.readers.csv_reader import csv_rows as csv_rows
from triage_cli.readers.dates import moment as moment
from triage_cli.readers.decoding import BLOCK as BLOCK
from triage_cli.readers.decoding import decoded as decoded
from triage_cli.readers.json_reader import JsonRecords as JsonRecords
from triage_cli.readers.json_reader import json_cell as json_cell
from triage_cli.readers.json_reader import json_values as json_values
from triage_cli.readers.label_columns import LEAST_TICKETS as LEAST_TICKETS
from triage_cli.readers.label_columns import LabelColumn as LabelColumn
from triage_cli.readers.label_columns import candidate_columns as candidate_columns
from triage_cli.readers.label_columns import label_column as label_column
from triage_cli.readers.label_columns import label_of as label_of
from triage_cli.readers.label_columns import told_by_name as told_by_name
from triage_cli.readers.mail_files import MailFolder as MailFolder
from triage_cli.readers.mail_files import RawMail as RawMail
from triage_cli.readers.mail_message import mail_draft as mail_draft
from triage_cli.readers.mail_message import mail_drafts as mail_drafts
from triage_cli.readers.mail_message import rewritten_mail as rewritten_mail
from triage_cli.readers.table import LABEL_HEADERS as LABEL_HEADERS
from triage_cli.readers.table import ReadOptions as ReadOptions
from triage_cli.readers.table import Table as Table
from triage_cli.readers.table import unique_column_names as unique_column_names
from triage_cli.readers.table_reader import ALL_FORMATS as ALL_FORMATS
from triage_cli.readers.table_reader import HEAD_SIZE as HEAD_SIZE
from triage_cli.readers.table_reader import open_table as open_table
from triage_cli.readers.table_reader import text_lines as text_lines

from . import cell_values as cell_values
from . import csv_reader as csv_reader
from . import dates as dates
from . import mail_files as mail_files
from . import mail_html as mail_html

LONGEST_CELL = triage_cli.readers.decoding.LONGEST
LONGEST_MAIL = triage_cli.readers.mail_files.LONGEST
