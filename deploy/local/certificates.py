"""A throwaway authority for one deployment, and a certificate of it for each process: made by openssl, good for 30 days."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

from processes import write_private

DAYS = "30"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A folder with `ca.pem`, which whoever is to trust the deployment is given, its key, and what it issued."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self.key = folder / "ca.key"

    def make(self) -> None:
        if self.certificate.exists():
            return
        self.folder.mkdir(mode=0o711, exist_ok=True)
        openssl("-x509", *CURVE, "-subj", "/CN=deploy-local throwaway CA", "-days", DAYS,
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
                "-keyout", self.key, "-out", self.folder / "ca.new")
        (self.folder / "ca.new").replace(self.certificate)

    def adopt(self, other: Authority) -> None:
        """Goes on as another one: what trusts the one trusts the other."""
        self.folder.mkdir(mode=0o711, exist_ok=True)
        write_private(self.key, other.key.read_text())
        shutil.copyfile(other.certificate, self.certificate)

    def server(self, name: str, *hosts: str) -> Pair:
        """A server's, which a client must find under one of these hosts: a name or 127.0.0.1."""
        return self.issue(name, hosts, "serverAuth")

    def client(self, name: str) -> Pair:
        return self.issue(name, (name,), "clientAuth")

    def issue(self, name: str, hosts: tuple[str, ...], use: str) -> Pair:
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        if not pair.certificate.exists():
            names = ",".join(f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts)
            fresh = self.folder / f"{name}.new"
            openssl("-x509", *CURVE, "-subj", f"/CN={name}", "-days", DAYS, "-CA", self.certificate, "-CAkey", self.key,
                    "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE",
                    "-addext", f"extendedKeyUsage={use}", "-keyout", pair.key, "-out", fresh)
            fresh.replace(pair.certificate)
        return pair


class Pair:
    """A certificate and its key."""

    def __init__(self, certificate: pathlib.Path, key: pathlib.Path) -> None:
        self.certificate, self.key = certificate, key

    def lend(self, folder: pathlib.Path, owner: tuple[int, int] | None) -> None:
        """Copies for a process of another account, which reads only its own files: `server.crt` and `server.key`."""
        for source, name in ((self.certificate, "server.crt"), (self.key, "server.key")):
            target = folder / name
            target.unlink(missing_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(source.read_text())
            if owner:
                os.chown(target, *owner)


class Unmade(Exception):
    """What openssl said."""


def openssl(*arguments: object) -> None:
    try:
        # The keys' files are made by openssl: with mode 0600.
        done = subprocess.run(["openssl", "req", *map(str, arguments)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unmade("openssl is not installed: it makes the certificates") from error
    if done.returncode:
        raise Unmade(f"openssl failed:\n{done.stderr}")
