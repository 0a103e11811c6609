#!/usr/bin/env python3
"""A whole deployment on one machine: every service its own process, every log its own Postgres.

    deploy/local/local.py up DIR [--standbys] [--tls [--aws AWS]]   start what does not run yet, and wait until all of it is ready
    deploy/local/local.py status DIR [--json]                       show what runs
    deploy/local/local.py down DIR                                  stop everything; `up` goes on from there
    deploy/local/local.py aws AWS [--registrars N] [--stop]         start a stand-in for AWS's KMS and S3, before there is an election

DIR holds an election: made by `tallyroot election new … --out DIR`, or by `tallyroot demo --prepare --data DIR`.
Everything of the deployment is kept below DIR/local: one configuration file, one log file and one Postgres for each.

With `--aws` keys are in KMS, and what is published and anchored is in buckets, of a stand-in for AWS; README.md says how.

It is the reference for what talks to what: each configuration file names only what its own process needs, and
nginx is the front, as a load balancer is in a real deployment. It is no place for a real election: one machine
holds every key, and Postgres runs on its single disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import certificates
import standin
from processes import HOST, LOOK_S, PATIENCE_S, Failed, answer, run, spawn, start_time, tail, write_private

def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run yet, and wait until all of it is ready")
    up.add_argument("--standbys", action="store_true", help="a second process for each cell, registrar and the anchor")
    up.add_argument("--tls", action="store_true",
                    help="TLS between all of them, with certificates of a throwaway authority in DIR/local/tls; kept for next time")
    up.add_argument("--aws", type=pathlib.Path, metavar="AWS",
                    help="what is published goes into buckets of the stand-in in this folder, in whose KMS the election's keys were made; with --tls")
    up.add_argument("--port", type=int, default=0, help="the front's port (default: any free one, kept for next time)")
    status = commands.add_parser("status", help="show what runs")
    down = commands.add_parser("down", help="stop everything; `up` goes on from there")
    for command in (up, status, down):
        command.add_argument("dir", type=pathlib.Path, metavar="DIR", help="the election's folder")
        command.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    aws = commands.add_parser("aws", help="start a stand-in for AWS's KMS and S3, and show how `tallyroot election new` reaches it")
    aws.add_argument("folder", type=pathlib.Path, metavar="AWS", help="its folder, beside the election's")
    aws.add_argument("--registrars", type=int, default=1, help="for so many there is a key that wraps their RSA key (default: %(default)s)")
    aws.add_argument("--stop", action="store_true", help="stop it; what it holds is kept")
    aws.add_argument("--json", action="store_true", help="one line of JSON on standard output")
    up.add_argument("--programs", type=pathlib.Path, default=default_programs(), metavar="FOLDER",
                    help="where the program tallyroot is (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        if arguments.command == "aws":
            return show_aws(arguments)
        deployment = Deployment(arguments.dir.resolve())
        if arguments.command == "up":
            deployment.up(arguments.programs.resolve(), arguments.standbys, arguments.tls, arguments.port,
                          arguments.aws and arguments.aws.resolve())
        elif arguments.command == "down":
            deployment.down()
        return deployment.show(arguments.json, arguments.command)
    except (Failed, certificates.Unmade) as failed:
        print(f"local: {failed}", file=sys.stderr)
        return 1


def show_aws(arguments: argparse.Namespace) -> int:
    aws = standin.StandIn(arguments.folder.resolve())
    if arguments.stop:
        aws.stop()
        return 0
    aws.start()
    aws.prepare(arguments.registrars)
    if arguments.json:
        print(json.dumps({"url": aws.url(), "environment": str(aws.environment), "keys": str(aws.keys)}))
    else:
        print(f"For whoever makes the election: set -a; . {aws.environment}; set +a\n"
              f"Into its description, so that its keys are made in KMS: {aws.keys}")
    return 0


def default_programs() -> pathlib.Path:
    return pathlib.Path(__file__).resolve().parents[2] / "target" / "release"


class Deployment:
    """What is in DIR/local, and what runs of it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.local = folder / "local"
        try:
            self.election = (folder / "election").read_text().strip()
            manifest = folder / "public" / "elections" / self.election / "manifest.json"
            self.manifest = json.loads(manifest.read_text())
        except (OSError, ValueError) as error:
            raise Failed(f"{folder} holds no election ({error}): make one with `tallyroot election new`, "
                         "or with `tallyroot demo --prepare`") from error
        self.manifest_path = manifest
        self.state_path = self.local / "state.json"
        self.state: dict = {"standbys": False, "ports": {}, "pids": {}}
        self.authority = certificates.Authority(self.local / "tls")
        with contextlib.suppress(FileNotFoundError):
            self.state = json.loads(self.state_path.read_text())
        self.aws = self.stand_in()

    # -- the three commands

    def up(self, programs: pathlib.Path, standbys: bool, tls: bool, port: int, aws: pathlib.Path | None = None) -> None:
        program = programs / "tallyroot"
        if not program.is_file():
            raise Failed(f"{program} is not there: run `make build` first, or name its folder with --programs")
        self.local.mkdir(mode=0o711, exist_ok=True)
        self.state["standbys"] = standbys or self.state["standbys"]
        if tls and not self.tls():
            if self.state["pids"]:
                raise Failed(f"it runs, or ran, without TLS: give --tls at the first `up` of {self.folder}")
            self.state["tls"] = True
        if aws and self.state.get("aws") != str(aws):
            if self.state["pids"] or not self.tls():
                raise Failed(f"--aws goes with --tls, and is given at the first `up` of {self.folder}")
            self.state["aws"] = str(aws)
            self.aws = self.stand_in()
        if self.aws:
            self.aws.start()
            self.authority.adopt(self.aws.authority)
            self.buckets().make()
        if self.tls():
            self.authority.make()
        if port:
            self.state["ports"]["front"] = port
        for name in self.databases():
            Postgres(self, name).start()
        # Before the anchor, which asks them.
        for witness in self.witnesses():
            witness.start(programs / "tallyroot-verify")
        for service in self.services():
            service.start(program)
        Front(self).start()
        self.save()
        self.wait_until_ready()

    def down(self) -> None:
        services = self.services()
        # The tally first, since the front waits for the streams of those who watch; then the front: nobody should be turned away half-way.
        stop(self, "tally", signal.SIGTERM)
        stop(self, "front", signal.SIGQUIT)
        # Standbys before the active ones, or each would take over.
        for service in sorted(services, key=lambda service: not service.standby):
            stop(self, service.name, signal.SIGTERM)
        for witness in self.witnesses():
            stop(self, witness.name, signal.SIGTERM)
        for name in self.databases():
            stop(self, f"postgres-{name}", signal.SIGINT)
        self.save()

    def show(self, as_json: bool, command: str) -> int:
        rows = []
        for service in self.services():
            state = service.state()
            rows.append({"name": service.name, "pid": None if state == "stopped" else self.state["pids"].get(service.name),
                         "state": state,
                         "listen": service.address(), "health": service.health(), "config": str(service.config)})
        for witness in self.witnesses():
            state = witness.state()
            rows.append({"name": witness.name, "pid": None if state == "stopped" else self.state["pids"].get(witness.name),
                         "state": state, "listen": witness.address(), "health": witness.health()})
        for name in self.databases():
            running = self.running(f"postgres-{name}")
            rows.append({"name": f"postgres-{name}", "pid": self.state["pids"].get(f"postgres-{name}") if running else None,
                         "state": "running" if running else "stopped", "listen": f"{HOST}:{self.port(f'postgres-{name}')}"})
        if self.aws:
            running = self.aws.running()
            rows.append({"name": "aws", "pid": self.aws.state["pid"] if running else None,
                         "state": "running" if running else "stopped", "listen": self.aws.address()})
        running = self.running("front")
        rows.append({"name": "front", "pid": self.state["pids"].get("front") if running else None,
                     "state": "running" if running else "stopped", "listen": self.front()})
        if as_json:
            print(json.dumps({"election_id": self.election, "url": self.url(), "processes": rows,
                              **({"root_certificate": str(self.authority.certificate)} if self.tls() else {}),
                              **({"published": self.buckets().published_url(), "anchors": self.buckets().anchor_urls()} if self.aws else {})}))
        else:
            for row in rows:
                health = f"  health {row['health']}" if "health" in row else ""
                print(f"{row['name']:<24} {row['state']:<9} {row['pid'] or '-':>8}  {row['listen']:<21}{health}".rstrip())
            print(f"\n{self.url()}/elections/{self.election}/")
            if self.tls():
                print(f"for its clients: export SSL_CERT_FILE={self.authority.certificate}")
            if self.aws:
                anchors = " ".join(f"--anchor '{anchor}'" for anchor in self.buckets().anchor_urls())
                print(f"for auditors: tallyroot-verify anchors '{self.buckets().published_url()}' --election {self.election} {anchors}")
        whole = all(row["state"] != "stopped" for row in rows)
        return 0 if whole or command != "status" else 3

    # -- what there is

    def databases(self) -> list[str]:
        """One Postgres for each cell and registrar, and one for the heads log."""
        return [*self.cells(), *self.registrars(), "anchor"]

    def cells(self) -> list[str]:
        return [f"cell-{k}" for k in range(len(self.manifest["cells"]))]

    def registrars(self) -> list[str]:
        return [f"registrar-{r}" for r in range(len(self.manifest["registrars"]))]

    def services(self) -> list[Service]:
        services = []
        for database in self.databases():
            services.append(Service(self, database, database, standby=False))
            if self.state["standbys"]:
                services.append(Service(self, f"{database}-standby", database, standby=True))
        services.append(Service(self, "tally", None, standby=False))
        return services

    def witnesses(self) -> list[Witness]:
        """Those of the manifest, in its order; `tallyroot demo --prepare --witnesses N` has put their keys into the folder."""
        named = self.manifest["witnesses"]["keys"]
        missing = [vkey for n, vkey in enumerate(named, 1) if not (self.folder / "witnesses" / str(n) / "key").is_file()]
        if missing:
            raise Failed(f"{missing[0]} is run elsewhere: this script runs only witnesses whose keys are in {self.folder}/witnesses")
        return [Witness(self, n, vkey.split("+")[0]) for n, vkey in enumerate(named, 1)]

    def front(self) -> str:
        return f"{HOST}:{self.port('front')}"

    def tls(self) -> bool:
        return self.state.get("tls", False)

    def scheme(self) -> str:
        return "https" if self.tls() else "http"

    def url(self) -> str:
        return f"{self.scheme()}://{self.front()}"

    def stand_in(self) -> standin.StandIn | None:
        return standin.StandIn(pathlib.Path(self.state["aws"])) if "aws" in self.state else None

    def buckets(self) -> standin.Buckets:
        return standin.Buckets(self.aws, self.election, self.manifest, self.manifest_path)

    def trust(self, identity: pathlib.Path | None = None) -> dict:
        """The environment of a service: with TLS it trusts this deployment's authority, and nobody else; to a stand-in for AWS it is who this file says.

        Without a stand-in, its region and credentials are those of whoever starts it.
        """
        if not self.aws:
            return {"env": {**os.environ, **self.root()}}
        own = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": str(identity or os.devnull)}
        return {"env": self.apart()["env"] | own}

    def apart(self) -> dict:
        """The environment of what has nothing to do with AWS: nothing of the operator's credentials."""
        return {"env": {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | self.root()}

    def root(self) -> dict:
        return {"SSL_CERT_FILE": str(self.authority.certificate)} if self.tls() else {}

    def port(self, name: str) -> int:
        """A free port for each name, chosen once."""
        ports = self.state["ports"]
        while name not in ports:
            with socket.socket() as listener:
                listener.bind((HOST, 0))
                port = listener.getsockname()[1]
            if port not in ports.values():
                ports[name] = port
                self.save()
        return ports[name]

    def running(self, name: str) -> bool:
        """Whether the process that was started under this name still is: its number may be another's by now."""
        pid, started = self.state["pids"].get(name), self.state.get("started", {}).get(name)
        return pid is not None and started == start_time(pid)

    def remember(self, name: str, pid: int) -> None:
        self.state["pids"][name] = pid
        self.state.setdefault("started", {})[name] = start_time(pid)
        self.save()

    def save(self) -> None:
        self.local.mkdir(mode=0o711, exist_ok=True)
        beside = self.state_path.with_suffix(".new")
        beside.write_text(json.dumps(self.state, indent=2))
        beside.replace(self.state_path)

    def wait_until_ready(self) -> None:
        """Each log has one active process; every other one stands by."""
        def waiting() -> list[str]:
            states = {service: service.state() for service in self.services()}
            mute = [witness.name for witness in self.witnesses() if witness.state() != "ready"]
            active = {service.database for service, state in states.items() if state == "ready"}
            return mute + [service.name for service, state in states.items()
                           if state not in ("ready", "standby") or service.database not in active]

        deadline = time.monotonic() + PATIENCE_S
        while missing := waiting():
            for service in [*self.services(), *self.witnesses()]:
                if not self.running(service.name):
                    raise Failed(f"{service.name} has stopped:\n{tail(service.log)}")
            if time.monotonic() > deadline:
                raise Failed(f"{', '.join(missing)} did not become ready:\n{tail(self.local / f'{missing[0]}.log')}")
            time.sleep(LOOK_S)


class Service:
    """One process of `tallyroot serve`."""

    def __init__(self, deployment: Deployment, name: str, database: str | None, standby: bool) -> None:
        self.deployment, self.name, self.database, self.standby = deployment, name, database, standby
        self.config = deployment.local / f"{name}.toml"
        self.log = deployment.local / f"{name}.log"
        self.role = name.split("-")[0]

    def start(self, program: pathlib.Path) -> None:
        if self.deployment.running(self.name):
            return
        write_private(self.config, self.configuration())
        environment = self.deployment.trust(self.identity())
        if self.role == "registrar" and not self.standby:
            run([program, "roll", "load", "--config", self.config], **environment)
        command = [program, "serve", self.role, "--config", self.config]
        self.deployment.remember(self.name, spawn(command, self.log, **environment))

    def identity(self) -> pathlib.Path | None:
        """Its credentials at the stand-in for AWS, which its standby has too: it does the same."""
        if not self.deployment.aws:
            return None
        title = self.database or self.name
        path = self.deployment.local / f"{title}.aws"
        if not path.exists():
            write_private(path, self.deployment.aws.user(f"{self.deployment.election[:16]}-{title}", self.permissions()))
        return path

    def permissions(self) -> list[dict]:
        """What it may do: its part of the published files, its own keys, and for the heads log the anchors."""
        folder, buckets = self.deployment.folder, self.deployment.buckets()
        if self.role == "tally":
            return buckets.permissions(["results.json"], [], log=False)
        own = self.keys_folder()
        logs = [folder / own / str(shard) for shard in range(len(self.shards()))] if self.role == "registrar" else [folder / own]
        signs = [kms_name(log / f"{which}.key") for log in logs for which in ("main", "spare")]
        statements = buckets.permissions([f"{own}/*", *(["anchors/*"] if self.role == "anchor" else [])], [name for name in signs if name])
        if self.role == "registrar" and (wrapping := kms_name(folder / own / "rsa.pem")):
            statements.append(standin.allow(["kms:Decrypt"], [wrapping]))
        return statements + (buckets.anchoring() if self.role == "anchor" else [])

    def keys_folder(self) -> str:
        return "heads" if self.role == "anchor" else f"{self.role}s/{self.database.split('-')[1]}"

    def shards(self) -> list:
        return self.deployment.manifest["registrars"][int(self.database.split("-")[1])]["shards"]

    def configuration(self) -> str:
        deployment, folder = self.deployment, self.deployment.folder
        lines = [
            f'manifest = "{deployment.manifest_path}"',
            f'election = "{deployment.election}"',
            f'listen = "{self.address()}"',
            f'health_listen = "{self.health()}"',
        ]
        if self.role in ("cell", "registrar"):
            index = int(self.database.split("-")[1])
            lines.insert(2, f"{self.role} = {index}")
        aws = deployment.aws
        if aws:
            lines += ["", "[aws]", f'region = "{standin.REGION}"', f'endpoint = "{aws.url()}"',
                      "", "[published]", f'bucket = "{deployment.buckets().published}"']
        else:
            lines += ["", "[published]", f'directory = "{folder / "public"}"']
        if self.role == "cell":
            lines += self.writer(folder / "cells" / str(index))
        elif self.role == "registrar":
            files = folder / "registrars" / str(index)
            lines[3:3] = [f'rsa_key = {rsa_key(files / "rsa.pem")}', f'code_key = "{files / "code.key"}"',
                          f'roll_backup = "{files / "registrar.sqlite"}"']
            lines += self.database_section()
            for shard in range(len(self.shards())):
                lines += ["", "[[shards]]", *keys(files / str(shard)), f'schema = "shard_{shard}"']
        elif self.role == "anchor":
            lines += self.writer(folder / "heads")
            for n, anchor in enumerate(deployment.manifest["anchors"]):
                place = folder / "public" / "elections" / deployment.election / "anchors" / anchor["name"]
                where = f'bucket = "{deployment.buckets().anchors[n]}"' if aws else f'directory = "{place}"'
                lines += ["", "[[anchors]]", f'name = "{anchor["name"]}"', where]
            for witness in deployment.witnesses():
                lines += ["", "[[witnesses]]", f'name = "{witness.title}"', f'url = "{deployment.scheme()}://{witness.address()}"']
        if deployment.tls():
            # By this name, which the standby has too, the front knows it.
            pair = deployment.authority.server(self.name, self.database or self.name)
            lines += ["", "[tls]", f'certificate = "{pair.certificate}"', f'key = "{pair.key}"',
                      f'clients = "{deployment.authority.certificate}"']
        return "\n".join([f"# {self.name}: all that this process is told.", *lines, ""])

    def writer(self, folder: pathlib.Path) -> list[str]:
        """What a log's writer needs: keys and a database."""
        return ["", "[key]", *keys(folder), *self.database_section()]

    def database_section(self) -> list[str]:
        postgres = Postgres(self.deployment, self.database)
        return ["", "[database]", f'url = "{postgres.url()}"', f'password_file = "{postgres.password_file}"',
                'durability = "single-node"']

    def address(self) -> str:
        return f"{HOST}:{self.deployment.port(self.name)}"

    def health(self) -> str:
        return f"{HOST}:{self.deployment.port(self.name + '-health')}"

    def state(self) -> str:
        """`ready` where it serves, `stopped`, or what it says of itself: `standby`, `starting`, `taking-over`, `stopping`, `halted`…"""
        if not self.deployment.running(self.name):
            return "stopped"
        try:
            with urllib.request.urlopen(f"http://{self.health()}/status", timeout=5) as response:
                status = json.load(response)
        except (OSError, ValueError):
            return "starting"
        return "ready" if status["ready"] else status["state"]


class Witness:
    """A witness of the heads log. Here it runs beside what it should watch, which shows only how it goes."""

    def __init__(self, deployment: Deployment, number: int, title: str) -> None:
        self.deployment, self.name, self.title = deployment, f"witness-{number}", title
        self.folder = deployment.folder / "witnesses" / str(number)
        self.log = deployment.local / f"{self.name}.log"

    def start(self, program: pathlib.Path) -> None:
        if self.deployment.running(self.name):
            return
        if not program.is_file():
            raise Failed(f"{program} is not there: run `make build` first, or name its folder with --programs")
        command = [program, "witness", "serve", "--key", self.folder / "key", "--state", self.folder / "state",
                   "--election", self.deployment.election, "--source", self.source(),
                   "--listen", self.address(), "--health", self.health()]
        if self.deployment.tls():
            pair = self.deployment.authority.server(self.name, HOST)
            command += ["--certificate", pair.certificate, "--certificate-key", pair.key]
        self.deployment.remember(self.name, spawn(command, self.log, **self.deployment.apart()))

    def source(self) -> object:
        """Where it reads the manifest."""
        return self.deployment.buckets().published_url() if self.deployment.aws else self.deployment.folder / "public"

    def address(self) -> str:
        return f"{HOST}:{self.deployment.port(self.name)}"

    def health(self) -> str:
        return f"{HOST}:{self.deployment.port(self.name + '-health')}"

    def state(self) -> str:
        if not self.deployment.running(self.name):
            return "stopped"
        return "ready" if answer(f"http://{self.health()}/livez") == 200 else "starting"


def keys(folder: pathlib.Path) -> list[str]:
    return [f"{which} = {key(folder / f'{which}.key')}" for which in ("main", "spare")]


def key(path: pathlib.Path) -> str:
    """A key file, or the key in KMS whose name stands in its place. Region and credentials are those of the environment."""
    name = kms_name(path)
    return f'{{ kms = "{name}" }}' if name else f'"{path}"'


def rsa_key(path: pathlib.Path) -> str:
    """The same for a registrar's RSA key, which KMS cannot use: it wraps it."""
    name = kms_name(path)
    return f'{{ kms = "{name}", wrapped = "{path.with_suffix(".wrapped")}" }}' if name else f'"{path}"'


def kms_name(path: pathlib.Path) -> str | None:
    try:
        return path.with_suffix(".kms").read_text().strip()
    except FileNotFoundError:
        return None


class Postgres:
    """A Postgres of its own, which only one service's role may enter."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment, self.name = deployment, f"postgres-{name}"
        self.role = name.replace("-", "_")
        self.folder = deployment.local / "postgres" / name
        self.password_file = deployment.local / f"{name}.password"
        self.bin = postgres_programs()

    def url(self) -> str:
        trust = f"?sslmode=verify-full&sslrootcert={self.deployment.authority.certificate}" if self.deployment.tls() else ""
        return f"postgres://{self.role}@{HOST}:{self.deployment.port(self.name)}/{self.role}{trust}"

    def start(self) -> None:
        if self.deployment.running(self.name):
            return
        port = self.deployment.port(self.name)
        fresh = not (self.folder / "PG_VERSION").exists()
        if fresh:
            self.make()
        log = self.deployment.local / f"{self.name}.log"
        command = [self.bin / "postgres", "-D", self.folder, "-p", str(port), "-c", f"listen_addresses={HOST}",
                   "-c", "unix_socket_directories=", "-c", "shared_buffers=64MB"]
        if self.deployment.tls():
            command += self.secure()
        pid = spawn(command, log, **self.deployment.apart(), **as_postgres())
        self.deployment.remember(self.name, pid)
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run([self.bin / "pg_isready", "-q", "-h", HOST, "-p", str(port)], check=False).returncode:
            if time.monotonic() > deadline or not self.deployment.running(self.name):
                raise Failed(f"{self.name} does not start:\n{tail(log)}")
            time.sleep(LOOK_S)
        if fresh:
            self.make_role(port)

    def secure(self) -> list[str]:
        """Its certificate, and nobody let in without TLS."""
        account = pwd.getpwnam("postgres") if as_postgres() else None
        owner = (account.pw_uid, account.pw_gid) if account else None
        self.deployment.authority.server(self.name, HOST).lend(self.folder, owner)
        (self.folder / "pg_hba.conf").write_text(f"hostssl all all {HOST}/32 scram-sha-256\n")
        return ["-c", "ssl=on", "-c", "ssl_cert_file=server.crt", "-c", "ssl_key_file=server.key"]

    def make(self) -> None:
        parent = self.folder.parent
        parent.mkdir(mode=0o711, exist_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        options = as_postgres()
        if options:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            for above in [self.folder, *self.folder.parents]:
                if above != self.folder and not above.stat().st_mode & 0o001:
                    if above in (self.deployment.folder, self.deployment.local):
                        above.chmod(above.stat().st_mode | 0o011)
                        continue
                    raise Failed(f"the account postgres cannot reach {self.folder}: {above} is closed to it; "
                                 "choose another place for the election's folder")
        superuser = self.deployment.local / f"{self.name}.superuser"
        if not superuser.exists():
            write_private(superuser, secrets.token_hex(24))
        # initdb runs as another account, which cannot read the operator's file.
        lent = parent / f"{self.name}.lent"
        write_private(lent, superuser.read_text())
        if options:
            os.chown(lent, account.pw_uid, account.pw_gid)
        run([self.bin / "initdb", "-D", self.folder, "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
             f"--pwfile={lent}"], **options)
        lent.unlink()

    def make_role(self, port: int) -> None:
        password = secrets.token_hex(24)
        write_private(self.password_file, password)
        superuser = (self.deployment.local / f"{self.name}.superuser").read_text()
        trust = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.deployment.authority.certificate)} if self.deployment.tls() else {}
        sql = (f"CREATE ROLE {self.role} LOGIN PASSWORD '{password}';\n"
               f"CREATE DATABASE {self.role} OWNER {self.role};\n"
               f"REVOKE CONNECT ON DATABASE {self.role} FROM PUBLIC;\n")
        run([self.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(port), "-U", "postgres", "-d", "postgres"],
            input=sql, text=True, env={**os.environ, "PGPASSWORD": superuser, **trust})


class Front:
    """nginx: static files, and the way to each service; a process that stands by is passed over."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.folder = deployment.local / "front"

    def start(self) -> None:
        if self.deployment.running("front"):
            return
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if nginx is None:
            raise Failed("nginx is not installed: scripts/setup.sh test installs it")
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "nginx.conf"
        config.write_text(self.configuration())
        log = self.folder / "error.log"
        self.deployment.remember("front", spawn([nginx, "-p", self.folder, "-e", log, "-c", config, "-g", "daemon off;"], log, **self.deployment.apart()))
        deadline = time.monotonic() + PATIENCE_S
        trusts = self.deployment.authority.certificate if self.deployment.tls() else None
        while answer(f"{self.deployment.url()}/elections/{self.deployment.election}/manifest.json", trusts) != 200:
            if time.monotonic() > deadline or not self.deployment.running("front"):
                raise Failed(f"the front does not start:\n{tail(log)}")
            time.sleep(LOOK_S)

    def configuration(self) -> str:
        deployment, base = self.deployment, f"/elections/{self.deployment.election}"
        scheme = deployment.scheme()
        template = (pathlib.Path(__file__).parent / "nginx.conf").read_text()
        upstreams, locations = [], []
        groups: dict[str, list[Service]] = {}
        for service in deployment.services():
            groups.setdefault(service.database or service.name, []).append(service)
        for name, services in groups.items():
            servers = "".join(f" server {service.address()} max_fails=0;" for service in services)
            upstreams.append(f"    upstream {name} {{{servers} keepalive 64; }}")
        for k, name in enumerate(deployment.cells()):
            locations.append(f"        location = {base}/cells/{k}/ballots {{ proxy_pass {scheme}://{name}; }}")
        for r, name in enumerate(deployment.registrars()):
            for path in ("credentials", "sign-in"):
                locations.append(f"        location = {base}/registrars/{r}/{path} {{ proxy_pass {scheme}://{name}; }}")
        locations.append(f"        location = {base}/notices {{ proxy_pass {scheme}://anchor; }}")
        locations.append(f"        location = {base}/events {{ proxy_pass {scheme}://tally; proxy_buffering off; proxy_read_timeout 1h; }}")
        # Who has the site alone, or leaves the slash out, finds the page.
        locations.append(f"        location = / {{ return 307 {base}/; }}")
        locations.append(f"        location = {base} {{ return 308 {base}/; }}")
        for page in ("", "(vote|receipt|audit|[a-z-]+[.](js|css|txt))"):
            how = "=" if not page else "~"
            where = f"{base}/" if not page else f"^{re.escape(base)}/{page}$"
            locations.append(f'        location {how} "{where}" {{ proxy_pass {scheme}://tally; }}')
        if deployment.aws:
            # As a CDN in front of the bucket would: nothing of who asks goes there, no query, and no method but GET and HEAD.
            upstreams.append(f"    upstream aws {{ server {deployment.aws.address()}; keepalive 64; }}")
            kept = "".join(f" proxy_set_header {name} $http_{name.lower().replace('-', '_')};" for name in ("If-None-Match", "If-Modified-Since", "Range"))
            files = ('limit_except GET { deny all; } set $args ""; proxy_pass_request_headers off; proxy_set_header Connection "";'
                     f" proxy_set_header Host {deployment.aws.address()};{kept}"
                     " proxy_hide_header Access-Control-Allow-Origin; proxy_hide_header Cache-Control;"
                     f" proxy_pass https://aws/{deployment.buckets().published}/elections/;")
        else:
            files = f"root {deployment.folder / 'public'}; autoindex off;"
        user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
        listen = deployment.front()
        if deployment.tls():
            listen += " ssl"
            upstreams += self.secure()
        return (template.replace("@USER@", user).replace("@LISTEN@", listen)
                .replace("@FILES@", files)
                .replace("@UPSTREAMS@", "\n".join(upstreams)).replace("@LOCATIONS@", "\n".join(locations)))

    def secure(self) -> list[str]:
        """TLS outside and inside. What resumes a session would join a sign-in to a cast, so nothing does: not outside, and inside connections are kept."""
        own = self.deployment.authority.server("front", HOST)
        shown = self.deployment.authority.client("front-as-client")
        return [f"    {directive};" for directive in (
            f"ssl_certificate {own.certificate}", f"ssl_certificate_key {own.key}", "ssl_protocols TLSv1.2 TLSv1.3",
            "ssl_session_tickets off", "ssl_session_cache off",
            # A service is known by the name of its upstream, which is what its certificate is for.
            "proxy_ssl_verify on", f"proxy_ssl_trusted_certificate {self.deployment.authority.certificate}",
            "proxy_ssl_server_name on", "proxy_ssl_protocols TLSv1.2 TLSv1.3", "proxy_ssl_session_reuse off",
            f"proxy_ssl_certificate {shown.certificate}", f"proxy_ssl_certificate_key {shown.key}")]


def stop(deployment: Deployment, name: str, how: signal.Signals) -> None:
    if not deployment.running(name):
        return
    pid = deployment.state["pids"][name]
    os.kill(pid, how)
    deadline = time.monotonic() + PATIENCE_S
    while deployment.running(name):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            raise Failed(f"{name} (process {pid}) does not stop: look at {deployment.local / f'{name}.log'}")
        time.sleep(LOOK_S)


def as_postgres() -> dict:
    """Postgres refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def postgres_programs() -> pathlib.Path:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("postgres")
    if there is None:
        raise Failed("Postgres is not installed: scripts/setup.sh test installs it")
    return pathlib.Path(there).parent


if __name__ == "__main__":
    sys.exit(main())
