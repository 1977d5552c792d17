# What other folders import from this one.

from triage_cli.sources.http import HttpSource as HttpSource
from triage_cli.sources.imap import ImapLogin as ImapLogin
from triage_cli.sources.imap import ImapSource as ImapSource
from triage_cli.sources.imap import imap_day as imap_day
from triage_cli.sources.imap import quoted_folder as quoted_folder
from triage_cli.sources.items import MOST_IDLE_PAGES as MOST_IDLE_PAGES
from triage_cli.sources.items import ItemReader as ItemReader
from triage_cli.sources.pagination import Page as Page
from triage_cli.sources.pagination import PageRequests as PageRequests
from triage_cli.sources.pagination import Walk as Walk
from triage_cli.sources.pagination import begin_walk as begin_walk
from triage_cli.sources.pagination import linked as linked
from triage_cli.sources.pagination import mistakes as mistakes
from triage_cli.sources.singer import SingerSource as SingerSource

from . import imap as imap
from . import items as items
