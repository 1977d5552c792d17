# What other folders import from this one.

from triage_cli.extensions.pull.imap import ImapLogin as ImapLogin
from triage_cli.extensions.pull.imap import ImapSource as ImapSource
from triage_cli.extensions.pull.imap import imap_day as imap_day
from triage_cli.extensions.pull.imap import quoted_folder as quoted_folder
from triage_cli.extensions.pull.items import MOST_IDLE_PAGES as MOST_IDLE_PAGES
from triage_cli.extensions.pull.items import ItemReader as ItemReader
from triage_cli.extensions.pull.pagination import Page as Page
from triage_cli.extensions.pull.pagination import Walk as Walk
from triage_cli.extensions.pull.pagination import begin_walk as begin_walk
from triage_cli.extensions.pull.pagination import linked as linked
from triage_cli.extensions.pull.types import COMMAND as COMMAND
from triage_cli.extensions.pull.types import HTTP as HTTP
from triage_cli.extensions.pull.types import IMAP as IMAP

from . import imap as imap
from . import items as items
