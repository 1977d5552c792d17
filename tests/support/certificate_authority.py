"""A private certificate authority, and servers on 127.0.0.1 that it vouches for."""

import shutil
import ssl
import subprocess
from pathlib import Path


class Authority:
    """An authority of the test's own, made by `openssl` in a folder."""

    def __init__(self, folder: Path, name: str = "ours") -> None:
        self.folder = folder
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._run(
            "req", "-x509", *_new(self._key), "-days", "2", "-subj", f"/CN={name}", "-out", str(self.file),
            "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip

    def vouch(self, *names: str) -> tuple[Path, Path]:
        """Return a certificate, of this machine unless other names are given, and its key."""
        shown = names or ("DNS:localhost", "IP:127.0.0.1")
        made, asked, extension = (self.folder / f"server.{end}" for end in ("pem", "csr", "ext"))
        key = self.folder / "server.key"
        extension.write_text(f"subjectAltName={','.join(shown)}\n")
        self._run("req", *_new(key), "-subj", "/CN=server", "-out", str(asked))
        self._run(
            "x509", "-req", "-in", str(asked), "-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial",
            "-days", "2", "-extfile", str(extension), "-out", str(made),
        )  # fmt: skip
        return made, key

    def context(self, *names: str) -> ssl.SSLContext:
        """Return what a server is to speak TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.vouch(*names))
        return context

    def directory(self) -> Path:
        """Return a folder for `SSL_CERT_DIR`, in which the authority stands by the hash of its name."""
        folder = self.folder / "hashed"
        folder.mkdir(exist_ok=True)
        name = self._run("x509", "-hash", "-noout", "-in", str(self.file)).strip()
        shutil.copy(self.file, folder / f"{name}.0")
        return folder

    @staticmethod
    def _run(*args: str) -> str:
        return subprocess.run(["openssl", *args], check=True, capture_output=True, text=True).stdout


def _new(key: Path) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))
