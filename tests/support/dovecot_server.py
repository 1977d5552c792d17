"""Dovecot on 127.0.0.1, with XOAUTH2 alone; it asks a token server about each token. Only where it is installed."""

import getpass
import grp
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.support.commands import until
from tests.support.ports import number_of, reserve_port

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin:/usr/bin")

# Whose mail it is where the tests run as root, as whom Dovecot delivers nothing.
MAIL_OWNER = "mail"

CONFIG = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap
ssl = no
auth_allow_cleartext = yes
auth_mechanisms = xoauth2
auth_failure_delay = 0
default_login_user = {login_user}
default_internal_user = {login_user}
default_internal_group = {login_group}
oauth2_introspection_mode = auth
oauth2_introspection_url = {introspection}
oauth2_username_attribute = username
oauth2_force_introspection = yes
mail_driver = maildir
mail_path = {folder}/mail/%{{user}}
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
passdb oauth2 {{
  driver = oauth2
  mechanisms_filter = xoauth2
}}
userdb static {{
  fields {{
    uid = {user}
    gid = {group}
    home = {folder}/mail/%{{user}}
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    listen = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot(NamedTuple):
    """Where it listens, and where it keeps what."""

    port: int
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def put(self, user: str, *mails: bytes) -> None:
        """Put mails into a user's maildir, as a mail server does."""
        home = self.folder / "mail" / user
        for each in ("new", "cur", "tmp"):
            (home / each).mkdir(parents=True, exist_ok=True)
        number = len(list(home.glob("*/*")))
        for number, mail in enumerate(mails, number):  # noqa: B020 - goes on from there
            (home / "new" / f"{1_700_000_000 + number}.M{number}.local").write_bytes(mail)
        if os.getuid() == 0:
            for path in (home.parent, home, *home.rglob("*")):
                shutil.chown(path, MAIL_OWNER, MAIL_OWNER)


@contextmanager
def running_dovecot(introspection: str) -> Iterator[Dovecot]:
    """Run a server that asks `introspection` about tokens, by GET with the token as a bearer."""
    assert DOVECOT
    user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    is_root = os.getuid() == 0
    owner = (MAIL_OWNER, MAIL_OWNER) if is_root else (user, group)
    login = ("dovenull", "dovecot") if is_root else (user, group)
    reserved = reserve_port()
    # Its own processes enter the folder as other users.
    with reserved, tempfile.TemporaryDirectory(dir="/tmp") as name:
        server = Dovecot(number_of(reserved), Path(name))
        server.folder.chmod(0o755)
        (server.folder / "run").mkdir()
        config = server.folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                folder=name, port=server.port, introspection=introspection, user=owner[0], group=owner[1],
                login_user=login[0], login_group=login[1],
            )
        )  # fmt: skip
        process = subprocess.Popen([DOVECOT, "-F", "-c", str(config)], stderr=subprocess.PIPE)
        try:
            until(lambda: _answers(process, server), "Dovecot listens")
            yield server
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _answers(process: "subprocess.Popen[bytes]", server: Dovecot) -> bool:
    if process.poll() is not None:
        assert process.stderr
        raise AssertionError(process.stderr.read())
    with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 5) as client:
        return client.recv(4) == b"* OK"
    return False
