#!/usr/bin/env python3
"""Writes the Kustomize overlay of one election: a namespace for each unit, and a configuration that names what that unit needs and nothing else.

    deploy/kubernetes/election.py DIR SETTINGS.toml OUT
    kubectl apply -k OUT

DIR is the folder that `tallyroot election new` made, with its logs' keys in KMS. It is read for the manifest and for the keys' names; nothing secret
of it is copied. SETTINGS.toml says where things are in AWS (example.toml shows all of it). OUT is made anew; keep it under version control.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import pathlib
import re
import shutil
import sys
import tomllib
from urllib.parse import urlsplit

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ALERTS = HERE.parent / "observability" / "alerts.yaml"
DATABASES = ("cloudnative-pg", "aurora")
SERVICE, HEALTH = 7100, 7101
# The network's own addresses (deploy/aws/network.yaml).
OURS = ipaddress.IPv4Network("10.0.0.0/8")
# Each commit is on the primary and on one of the two standbys, and CloudNativePG promotes only when it sees R + W > N: both standbys (R = 2, W = 1, N = 2).
# The program counts the three names without knowing which is the primary, so its rule, count >= names - failover + 1, asks that all three are compared:
# the two that are, and the primary itself, which has every commit (specs/architecture.md, deploy/kubernetes).
STANDBYS = ["db-1", "db-2", "db-3"]


class Failed(Exception):
    """Something that the user can read and do something about."""


class Settings:
    """SETTINGS.toml, read strictly: what nobody asks for is refused."""

    KNOWN = {"name", "region", "database", "published", "role", "images", "anchors", "witnesses", "target_groups", "aurora", "volume_key", "standbys", "oidc"}
    IMAGES = ("tallyroot", "tallyroot-secrets", "postgres-for-cloudnative-pg")

    def __init__(self, path: pathlib.Path) -> None:
        try:
            given = tomllib.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise Failed(f"{path}: {error}") from error
        if unknown := sorted(set(given) - self.KNOWN):
            raise Failed(f"{path}: unknown: {', '.join(unknown)}; there are {', '.join(sorted(self.KNOWN))}")
        self.path, self.given = path, given
        self.name, self.region = self.text("name"), self.text("region")
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", self.name):
            raise Failed(f"{path}: name is {self.name!r}: give a-z, 0-9 and -, at most 40, since it begins the names of namespaces and roles")
        self.published, self.role, self.database = self.text("published"), self.text("role"), self.text("database")
        if self.database not in DATABASES:
            raise Failed(f"{path}: database is {self.database!r}: give one of {', '.join(DATABASES)}")
        if "{unit}" not in self.role:
            raise Failed(f"{path}: role has no {{unit}}: each unit has a role of its own")

    def text(self, *keys: str) -> str:
        value = self.given
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, str) or not value:
            raise Failed(f"{self.path}: {'.'.join(keys)} is missing: example.toml shows it")
        return value


class Unit:
    """A service with its namespace."""

    def __init__(self, kind: str, index: int | None = None) -> None:
        self.kind, self.index = kind, index
        self.name = kind if index is None else f"{kind}-{index}"

    @property
    def writes(self) -> bool:
        return self.kind != "tally"

    @property
    def role(self) -> str:
        """As `tallyroot_process` has it."""
        return self.kind if self.index is None else f"{self.kind} {self.index}"


class Overlay:
    """All that is written for one election."""

    def __init__(self, folder: pathlib.Path, settings: Settings, out: pathlib.Path) -> None:
        self.folder, self.settings, self.out = folder, settings, out
        try:
            self.election = (folder / "election").read_text().strip()
            self.manifest_bytes = (folder / "public" / "elections" / self.election / "manifest.json").read_bytes()
            self.manifest = json.loads(self.manifest_bytes)
        except (OSError, ValueError) as error:
            raise Failed(f"{folder} holds no election ({error}): make one with `tallyroot election new`") from error

    def units(self) -> list[Unit]:
        cells = [Unit("cell", k) for k in range(len(self.manifest["cells"]))]
        registrars = [Unit("registrar", r) for r in range(len(self.manifest["registrars"]))]
        return [*cells, *registrars, Unit("anchor"), Unit("tally")]

    def namespace(self, unit: Unit) -> str:
        return f"{self.settings.name}-{unit.name}"

    def write(self) -> None:
        if self.out.exists() and any(self.out.iterdir()) and not (self.out / "kustomization.yaml").is_file():
            raise Failed(f"{self.out} holds something else than an overlay: name another folder")
        files = {}
        for unit in self.units():
            files |= {f"{unit.name}/{name}": content for name, content in self.unit_files(unit).items()}
        files["rules.yaml"] = dump({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
                                    "metadata": {"name": self.settings.name, "namespace": "monitoring"}, "spec": {"groups": self.rules()}})
        if self.settings.database == "cloudnative-pg":
            files["storage.yaml"] = dump(self.storage())
        resources = [*(unit.name for unit in self.units()), *sorted(name for name in files if "/" not in name)]
        files["kustomization.yaml"] = dump({**KUSTOMIZATION, "resources": resources})
        shutil.rmtree(self.out, ignore_errors=True)
        for name, content in files.items():
            path = self.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    @property
    def label(self) -> str:
        """What tells this election's series from others in one Prometheus: a rehearsal may have had the same name, and is over."""
        return f"{self.settings.name}-{self.election[:8]}"

    def rules(self) -> list[dict]:
        """The alert rules, of this election's series alone, and what they need to know of its manifest."""
        groups = yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in (rule for group in groups for rule in group["rules"]):
            rule["expr"] = selected(rule["expr"], self.label)
        known = [recorded("tallyroot:head_interval_seconds", self.manifest["head_interval_ms"] / 1000, election=self.label),
                 recorded("tallyroot:batch_wait_seconds", self.manifest["batch_wait_ms"] / 1000, election=self.label)]
        known += [recorded("tallyroot:processes_wanted", 2 if unit.writes else 1, election=self.label, role=unit.role) for unit in self.units()]
        return [{"name": "election", "rules": known}, *groups]

    def storage(self) -> dict:
        """Volumes under a key of ours, in the zone of the pod that asks; what is deleted in Kubernetes stays in AWS until somebody deletes it there."""
        return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": f"{self.settings.name}-encrypted"},
                "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Retain", "allowVolumeExpansion": True,
                "parameters": {"type": "gp3", "encrypted": "true", "kmsKeyId": self.settings.text("volume_key")}}

    # -- a unit

    def unit_files(self, unit: Unit) -> dict:
        settings = self.settings
        beside = {"config.toml": self.configuration(unit), "manifest.json": self.manifest_bytes}
        if unit.writes and settings.database == "aurora":
            beside["ca.crt"] = self.certificates()
        near = lambda what: os.path.relpath(HERE / what, self.out.resolve() / unit.name)
        resources, patches = [near(f"base/{unit.kind}")], []
        arn = settings.role.format(unit=f"{settings.name}-{unit.name}")
        patches.append(patch("ServiceAccount", [add("/metadata/annotations", {"eks.amazonaws.com/role-arn": arn})], "service"))
        patches.append(patch("PodMonitor", [add("/spec/podMetricsEndpoints/0/relabelings", [{"targetLabel": "election", "replacement": self.label}])], "service"))
        more = {}
        if secrets := self.secrets(unit):
            more["secrets.yaml"] = "---\n".join(map(dump, self.external_secrets(unit, secrets)))
        if sign_in := self.sign_in(unit):
            # Policies add up: to the provider, and nobody else.
            more["sign-in.yaml"] = dump({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "sign-in"}, "spec": {
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "tallyroot"}}, "policyTypes": ["Egress"],
                "egress": [{"to": [{"ipBlock": {"cidr": block}} for block in sign_in["blocks"]], "ports": [{"protocol": "TCP", "port": 443}]}]}})
        if unit.writes:
            patches.append(patch("StatefulSet", self.copied(unit), "service"))
        if settings.given.get("target_groups"):
            arn = settings.text("target_groups", unit.name)
            more["route.yaml"] = dump({
                "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding", "metadata": {"name": "service"},
                "spec": {"serviceRef": {"name": "service", "port": SERVICE}, "targetGroupARN": arn, "targetType": "ip"}})
        images = []
        for name in Settings.IMAGES[: 2 if unit.writes else 1]:
            images.append({"name": name, **image(settings.text("images", name))})
        components = []
        if secrets:
            components.append(near("components/external-secrets"))
        if unit.writes:
            components.append(near(f"components/{settings.database}"))
            if settings.database == "cloudnative-pg":
                # Kustomize's images do not reach into other kinds than pods.
                wanted = settings.text("images", Settings.IMAGES[2])
                image(wanted)
                volumes = f"{settings.name}-encrypted"
                patches.append(patch("Cluster", [{"op": "replace", "path": "/spec/imageName", "value": wanted},
                                                 {"op": "replace", "path": "/spec/storage/storageClass", "value": volumes},
                                                 {"op": "replace", "path": "/spec/walStorage/storageClass", "value": volumes},
                                                 add("/spec/affinity/nodeSelector", {"tallyroot/part": part(unit)}),
                                                 add("/spec/affinity/tolerations", [toleration(unit)])], "db"))
        kustomization = {
            **KUSTOMIZATION, "namespace": self.namespace(unit), "resources": resources + sorted(more), "components": components,
            "labels": [{"pairs": {"app.kubernetes.io/instance": unit.name, "app.kubernetes.io/part-of": settings.name}, "includeTemplates": True}],
            "configMapGenerator": [{"name": "config", "files": sorted(beside)}], "patches": patches, "images": images}
        return {"kustomization.yaml": dump(kustomization), **beside, **more}

    def secrets(self, unit: Unit) -> list[str]:
        """The files that it gets from AWS Secrets Manager, `<name>/<unit>/<file>`."""
        files = ["code.key", "rsa.wrapped"] if unit.kind == "registrar" else []
        return files + (["password"] if unit.writes and self.settings.database == "aurora" else [])

    def external_secrets(self, unit: Unit, secrets: list[str]) -> list[dict]:
        """As the unit's own role, which may read its own secrets alone."""
        store = {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "aws"},
                 "spec": {"provider": {"aws": {"service": "SecretsManager", "region": self.settings.region,
                                               "auth": {"jwt": {"serviceAccountRef": {"name": "service"}}}}}}}
        data = [{"secretKey": file, "remoteRef": {"key": f"{self.settings.name}/{unit.name}/{file}"}} for file in secrets]
        wanted = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": {"name": "files"},
                  "spec": {"refreshInterval": "1h", "secretStoreRef": {"kind": "SecretStore", "name": "aws"},
                           "target": {"name": "files", "creationPolicy": "Owner"}, "data": data}}
        return [store, wanted]

    def copied(self, unit: Unit) -> list[dict]:
        """Which files are copied to where their owner alone reads them."""
        own = [file for file in self.secrets(unit) if file != "password"]
        given = ["/given/database/password", *(f"/given/files/{file}" for file in own)]
        changes = [add("/spec/template/spec/initContainers/0/args", [*given, "/run/secrets/tallyroot/"])]
        if own:
            items = [{"key": file, "path": file} for file in own]
            volume = {"name": "given-files", "secret": {"secretName": "files", "defaultMode": 0o440, "items": items}}
            mount = {"name": "given-files", "mountPath": "/given/files", "readOnly": True}
            changes += [add("/spec/template/spec/volumes/-", volume), add("/spec/template/spec/initContainers/0/volumeMounts/-", mount)]
        return changes

    def certificates(self) -> bytes:
        path = self.settings.path.parent / self.settings.text("aurora", "ca")
        try:
            return path.read_bytes()
        except OSError as error:
            raise Failed(f"aurora.ca: {error}: get the certificates of RDS from AWS") from error

    # -- its configuration, in the words of `tallyroot serve --help`

    def configuration(self, unit: Unit) -> str:
        lines = ['manifest = "manifest.json"', f"election = {quoted(self.election)}",
                 f'listen = "0.0.0.0:{SERVICE}"', f'health_listen = "0.0.0.0:{HEALTH}"']
        if unit.index is not None:
            lines.append(f"{unit.kind} = {unit.index}")
        if unit.kind == "registrar":
            name = self.kms(f"registrars/{unit.index}/rsa")
            lines += [f'rsa_key = {{ kms = {quoted(name)}, wrapped = "/run/secrets/tallyroot/rsa.wrapped" }}',
                      'code_key = "/run/secrets/tallyroot/code.key"']
        # AWS's load balancers verify no certificate.
        lines += ["", "[tls]", "self_signed = true", "", "[aws]", f"region = {quoted(self.settings.region)}", "", "[published]", f"bucket = {quoted(self.settings.published)}"]
        if unit.kind == "tally":
            if places := self.sign_in_at():
                lines.insert(2, f"sign_in_at = {json.dumps(places)}")
            # CloudFront serves the files; this is for "/", which leads to the page.
            return text(unit, [*lines, "serve = true"])
        if unit.kind != "registrar":
            lines += ["", "[key]", *self.keys(f"cells/{unit.index}" if unit.kind == "cell" else "heads")]
        lines += ["", "[database]", f"url = {quoted(self.database_url(unit))}", 'password_file = "/run/secrets/tallyroot/password"',
                  f"durability = {self.durability(unit)}"]
        if sign_in := self.sign_in(unit):
            lines += ["", "[oidc]", *(f"{key} = {quoted(value)}" for key, value in sign_in.items() if key not in ("blocks", "origins"))]
        if unit.kind == "registrar":
            for shard in range(len(self.manifest["registrars"][unit.index]["shards"])):
                lines += ["", "[[shards]]", *self.keys(f"registrars/{unit.index}/{shard}")]
        if unit.kind == "anchor":
            for anchor in self.manifest["anchors"]:
                name = anchor["name"]
                lines += ["", "[[anchors]]", f"name = {quoted(name)}", f"bucket = {quoted(self.settings.text('anchors', name, 'bucket'))}",
                          f"region = {quoted(self.settings.text('anchors', name, 'region'))}"]
            for vkey in self.manifest["witnesses"]["keys"]:
                name = vkey.split("+")[0]
                lines += ["", "[[witnesses]]", f"name = {quoted(name)}", f"url = {quoted(self.settings.text('witnesses', name))}"]
        return text(unit, lines)

    def durability(self, unit: Unit) -> str:
        if self.settings.database == "aurora":
            return quoted("storage-replicated")
        # An instance whose volume was lost comes back under a new name.
        names = self.settings.given.get("standbys", {}).get(unit.name, STANDBYS)
        if not isinstance(names, list) or len(set(map(str, names))) != 3 or not all(re.fullmatch(r"db-[1-9][0-9]*", str(name)) for name in names):
            raise Failed(f"standbys.{unit.name} is {names!r}: give the names of its three instances, as `kubectl get pods` has them, such as {json.dumps(STANDBYS)}")
        return f"{{ standbys = {json.dumps(names)}, count = 1, failover = 3 }}"

    SIGN_IN = {"issuer", "client_id", "audience", "claim", "scope", "blocks", "origins"}

    def sign_in(self, unit: Unit) -> dict:
        """Where a registrar's voters sign in beside their codes, and the few addresses at which it reads the provider's keys."""
        given = self.settings.given.get("oidc", {}).get(unit.name, {})
        if not given:
            return {}
        if unit.kind != "registrar" or set(given) - self.SIGN_IN or not all(isinstance(given.get(key), str) for key in set(given) - {"blocks", "origins"} | {"issuer", "client_id"}):
            raise Failed(f"oidc.{unit.name}: give issuer, client_id and blocks of a registrar; there are {', '.join(sorted(self.SIGN_IN))}")
        try:
            blocks = [ipaddress.IPv4Network(block) for block in given["blocks"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Failed(f"oidc.{unit.name}.blocks: {error}: give where the provider is, such as [\"203.0.113.16/28\"]") from error
        origins = given.get("origins", [])
        if not isinstance(origins, list) or not all(re.fullmatch(r"https://[a-z0-9.-]+(:[0-9]+)?", str(origin)) for origin in origins):
            raise Failed(f"oidc.{unit.name}.origins: give where a voter's browser reaches the provider, such as [\"https://id.example.org\"], without a path")
        if not blocks or any(block.prefixlen < 24 or block.overlaps(OURS) for block in blocks):
            raise Failed(f"oidc.{unit.name}.blocks: give public addresses, at most 256 each: a registrar reaches nobody else")
        return given

    def sign_in_at(self) -> list[str]:
        """Where the voting page may send its questions, so that voters sign in there: an issuer's own origin, if no others are given."""
        origins = []
        for unit in self.units():
            if given := self.sign_in(unit):
                issuer = urlsplit(given["issuer"])
                origins += given.get("origins", [f"{issuer.scheme}://{issuer.netloc}"])
        return sorted(set(origins))

    def database_url(self, unit: Unit) -> str:
        if self.settings.database == "aurora":
            host = self.settings.text("aurora", "hosts", unit.name)
        else:
            host = f"db-rw.{self.namespace(unit)}.svc"
        return f"postgres://tallyroot@{host}:5432/tallyroot?sslmode=verify-full&sslrootcert=/etc/database/ca.crt"

    def keys(self, of: str) -> list[str]:
        return [f"{which} = {{ kms = {quoted(self.kms(f'{of}/{which}'))} }}" for which in ("main", "spare")]

    def kms(self, path: str) -> str:
        try:
            return (self.folder / f"{path}.kms").read_text().strip()
        except FileNotFoundError as error:
            raise Failed(f"{self.folder / path}.kms is not there: this deployment takes keys in KMS alone; "
                         "name them in [keys] of the election's description (tallyroot election new --help)") from error


KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def part(unit: Unit) -> str:
    """Which nodes: each part has its own, with a security group of its own."""
    return {"cell": "cells", "registrar": "registrars"}.get(unit.kind, "services")


def toleration(unit: Unit) -> dict:
    return {"key": "tallyroot/part", "operator": "Equal", "value": part(unit), "effect": "NoSchedule"}


def patch(kind: str, changes: list[dict], name: str) -> dict:
    return {"target": {"kind": kind, "name": name}, "patch": dump(changes)}


def add(path: str, value: object) -> dict:
    return {"op": "add", "path": path, "value": value}


def selected(expression: str, election: str) -> str:
    """The same of one election's series."""
    of = f'election="{election}"'
    return re.sub(r"\b(tallyroot[_:]\w+|up)\b(?:\{([^}]*)\})?", lambda it: f"{it[1]}{{{of},{it[2]}}}" if it[2] else f"{it[1]}{{{of}}}", expression)


def recorded(name: str, value: float, **labels: str) -> dict:
    return {"record": name, "expr": f"vector({value:g})", "labels": labels}


def image(reference: str) -> dict:
    name, _, digest = reference.partition("@")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Failed(f"image {reference}: name it by its digest, …@sha256:…, so that what runs is what was built and looked at")
    return {"newName": name, "digest": digest}


def quoted(value: str) -> str:
    """A basic string of TOML: JSON's escapes are among those of TOML."""
    return json.dumps(value, ensure_ascii=False)


def text(unit: Unit, lines: list[str]) -> str:
    return "\n".join([f"# {unit.name}: all that this process is told. Written by deploy/kubernetes/election.py.", *lines, ""])


def dump(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=200)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR", help="the election's folder")
    parser.add_argument("settings", type=pathlib.Path, metavar="SETTINGS.toml")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT", help="the overlay's folder")
    given = parser.parse_args()
    try:
        overlay = Overlay(given.dir, Settings(given.settings), given.out)
        overlay.write()
    except Failed as failed:
        print(f"election.py: {failed}", file=sys.stderr)
        return 1
    print(f"{given.out}: {len(overlay.units())} units of the election {overlay.election}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
