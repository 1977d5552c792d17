"""pgbouncer in front of the tests' PostgreSQL server, where it is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.support.commands import until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def running_pgbouncer(url: str, mode: Literal["session", "transaction"], *, prepared: int) -> Iterator[str]:
    """Run it for a while before a database; yield its address. It keeps two connections to the server open.

    `prepared` is how many statements of a client it prepares anew on another connection: 0, as all before 1.21 do,
    stands for none.
    """
    address, _, folder = url.partition("?host=")
    name = address.rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix="pgb") as made:
        place = Path(made)
        place.chmod(0o777)
        (place / "pgbouncer.ini").write_text(
            f"""[databases]
            {name} = host={folder} user=postgres
            [pgbouncer]
            unix_socket_dir = {place}
            unix_socket_mode = 0777
            auth_type = any
            pool_mode = {mode}
            default_pool_size = {2 if mode == "transaction" else 20}
            max_prepared_statements = {prepared}
            logfile = {place}/log
            """
        )
        (place / "pgbouncer.ini").chmod(0o644)
        # It refuses to run as root; only the server's own user may look into the folder of the server's socket.
        user = ("-u", Path(folder).owner()) if os.geteuid() == 0 else ()
        process = subprocess.Popen([str(PROGRAM), "-q", *user, str(place / "pgbouncer.ini")])
        log = place / "log"
        try:
            until(lambda: log.exists() and "process up" in log.read_text(), "pgbouncer listens")
            yield f"postgresql://postgres@/{name}?host={place}&port=6432"
        finally:
            process.terminate()
            process.wait(30)
