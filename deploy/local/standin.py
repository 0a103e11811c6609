"""A stand-in for AWS on this machine: KMS, S3 and IAM of `ministack`, with TLS, in which an election's keys and buckets are."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

import certificates
from processes import HOST, LOOK_S, PATIENCE_S, Failed, answer, spawn, start_time, tail, write_private

REGION = "eu-central-1"
# The server takes whoever has this id for its account's root, and does not look at the signature; everybody else's it checks.
ROOT = "test"
READ_OBJECTS = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"]
READ_BUCKET = ["s3:ListBucket", "s3:ListBucketVersions"]


def allow(actions: list[str], resources: list[str]) -> dict:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def document(statements: list[dict]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


class StandIn:
    """A folder with the server's state, its certificate's authority, and the operator's credentials."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.authority = certificates.Authority(folder / "tls")
        self.environment, self.keys, self.log = folder / "environment", folder / "keys.toml", folder / "log"
        self.state_path = folder / "state.json"
        self.state: dict = {}
        with contextlib.suppress(FileNotFoundError):
            self.state = json.loads(self.state_path.read_text())

    def start(self) -> None:
        if self.running():
            return
        python = pathlib.Path(__file__).resolve().parents[2] / ".tools" / "bin" / "python"
        if not (python.parent / "ministack").is_file():
            raise Failed("ministack is not installed: scripts/setup.sh test installs it")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.authority.make()
        # nginx compares a server's name with names alone, and the services reach it by its address.
        pair = self.authority.server("aws", HOST, "aws")
        if "port" not in self.state:
            with socket.socket() as listener:
                listener.bind((HOST, 0))
                self.save(port=listener.getsockname()[1])
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": self.folder, "TMPDIR": self.folder,
            "AUTH": "true", "SERVICES": "kms,s3,sts,iam", "MINISTACK_REGION": REGION, "GATEWAY_PORT": self.state["port"],
            # It would listen at a fixed port of every address.
            "IOT_MTLS_ENABLED": "0",
            "PERSIST_STATE": "1", "STATE_DIR": self.folder / "state", "S3_PERSIST": "1", "S3_DATA_DIR": self.folder / "s3",
        }
        # Not by its own command, which with TLS would take port 443 as well.
        command = [python, "-m", "hypercorn", "ministack.app:app", "--workers", "0", "--bind", self.address(), "--keep-alive", "75",
                   "--certfile", pair.certificate, "--keyfile", pair.key]
        pid = spawn(command, self.log, env={name: str(value) for name, value in environment.items()})
        self.save(pid=pid, started=start_time(pid))
        deadline = time.monotonic() + PATIENCE_S
        while answer(f"{self.url()}/_ministack/health", self.authority.certificate) != 200:
            if time.monotonic() > deadline or not self.running():
                raise Failed(f"the stand-in for AWS does not start:\n{tail(self.log)}")
            time.sleep(LOOK_S)

    def stop(self) -> None:
        if not self.running():
            return
        pid = self.state["pid"]
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        while self.running():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                raise Failed(f"the stand-in for AWS (process {pid}) does not stop: look at {self.log}")
            time.sleep(LOOK_S)

    def prepare(self, registrars: int) -> None:
        """An operator who may do everything, and what a description says so that all keys are made here. Once."""
        if self.keys.exists():
            return
        credentials = self.user("operator", [allow(["*"], ["*"])])
        given = dict(line.split(" = ") for line in credentials.splitlines()[1:])
        write_private(self.environment, "".join(f"{name}={value}\n" for name, value in {
            "AWS_ENDPOINT_URL": self.url(), "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
            **{name.upper(): value for name, value in given.items()}, "SSL_CERT_FILE": self.authority.certificate,
        }.items()))
        wrapping = [json.loads(self.ask("kms", "POST", "/", b"{}", {
            "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.CreateKey"}))["KeyMetadata"]["Arn"] for _ in range(registrars)]
        roles = "".join(f"{role} = {{ kms = true }}\n" for role in ("cells", "issuance", "heads", "authority", "spares"))
        write_private(self.keys, f"[keys]\n{roles}rsa = {{ kms = {json.dumps(wrapping)} }}\n")

    def user(self, name: str, statements: list[dict]) -> str:
        """Makes a user who may do this and nothing else; gives the file of its credentials, as AWS's tools read it."""
        self.iam(Action="CreateUser", UserName=name)
        self.iam(Action="PutUserPolicy", UserName=name, PolicyName="own", PolicyDocument=document(statements))
        made = self.iam(Action="CreateAccessKey", UserName=name)
        key, secret = (re.search(f"<{element}>([^<]+)<", made).group(1) for element in ("AccessKeyId", "SecretAccessKey"))
        return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"

    def iam(self, **form: str) -> str:
        return self.ask("iam", "POST", "/", urllib.parse.urlencode({**form, "Version": "2010-05-08"}).encode(),
                        {"Content-Type": "application/x-www-form-urlencoded"})

    def ask(self, service: str, method: str, path: str, body: bytes = b"", headers: dict | None = None) -> str:
        """A request as the account's root."""
        signed = f"AWS4-HMAC-SHA256 Credential={ROOT}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=00"
        request = urllib.request.Request(self.url() + path, data=body, method=method, headers={**(headers or {}), "Authorization": signed})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S,
                                        context=ssl.create_default_context(cafile=self.authority.certificate)) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            raise Failed(f"the stand-in for AWS: {method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise Failed(f"the stand-in for AWS: {method} {path}: {error}") from error

    def running(self) -> bool:
        """Whether the process that was started still is: its number may be another's by now."""
        return self.state.get("pid") is not None and self.state.get("started") == start_time(self.state["pid"])

    def address(self) -> str:
        return f"{HOST}:{self.state.get('port', 0)}"

    def url(self) -> str:
        return f"https://{self.address()}"

    def save(self, **more: object) -> None:
        self.state |= more
        beside = self.state_path.with_suffix(".new")
        beside.write_text(json.dumps(self.state))
        beside.replace(self.state_path)


class Buckets:
    """Those of one election: its published files, and a bucket with Object Lock for each anchor."""

    def __init__(self, aws: StandIn, election: str, manifest: dict, manifest_path: pathlib.Path) -> None:
        self.aws, self.election, self.manifest_path = aws, election, manifest_path
        self.names = [anchor["name"] for anchor in manifest["anchors"]]
        self.published = f"tallyroot-{election[:16]}-published"
        # By number, since a name of the manifest need not be one that a bucket may have.
        self.anchors = [f"tallyroot-{election[:16]}-anchor-{n}" for n in range(len(self.names))]

    def make(self) -> None:
        """Makes those that are not there, lets everybody read them, and publishes the manifest."""
        for bucket in [self.published, *self.anchors]:
            if answer(f"{self.aws.url()}/{bucket}?list-type=2&max-keys=1", self.aws.authority.certificate) == 200:
                continue
            locked = str(bucket != self.published).lower()
            where = f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
            self.aws.ask("s3", "PUT", f"/{bucket}", where.encode(), {"x-amz-bucket-object-lock-enabled": locked})
            if bucket == self.published:
                self.aws.ask("s3", "PUT", f"/{bucket}/elections/{self.election}/manifest.json", self.manifest_path.read_bytes(),
                             {"Content-Type": "application/json"})
            self.aws.ask("s3", "DELETE", f"/{bucket}?publicAccessBlock")
            everybody = [{**allow(READ_OBJECTS, [f"arn:aws:s3:::{bucket}/*"]), "Principal": "*"},
                         {**allow(READ_BUCKET, [f"arn:aws:s3:::{bucket}"]), "Principal": "*"}]
            self.aws.ask("s3", "PUT", f"/{bucket}?policy", document(everybody).encode())

    def permissions(self, writes: list[str], signs: list[str], log: bool = True) -> list[dict]:
        """What a service needs in the published bucket and of KMS; specs/decisions/0014-buckets.md says why."""
        base = f"arn:aws:s3:::{self.published}"
        statements = [allow(["s3:GetObject"], [f"{base}/elections/{self.election}/*"]), allow(["s3:ListBucket"], [base]),
                      allow(["s3:PutObject"], [f"{base}/elections/{self.election}/{path}" for path in writes])]
        if log:
            statements.append(allow(["s3:PutObject", "s3:GetObject", "s3:DeleteObject"], [f"{base}/probe/*"]))
        if signs:
            statements.append(allow(["kms:GetPublicKey", "kms:Sign"], signs))
        return statements

    def anchoring(self) -> list[dict]:
        """What the heads log needs in the anchors' buckets."""
        return [allow(["s3:PutObject", "s3:PutObjectRetention", *READ_OBJECTS], [f"arn:aws:s3:::{bucket}/*" for bucket in self.anchors]),
                allow([*READ_BUCKET, "s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning"], [f"arn:aws:s3:::{bucket}" for bucket in self.anchors])]

    def published_url(self) -> str:
        return self.url(self.published)

    def anchor_urls(self) -> list[str]:
        """As `tallyroot-verify anchors --anchor` takes them."""
        return [f"{name}={self.url(bucket)}" for name, bucket in zip(self.names, self.anchors)]

    def url(self, bucket: str) -> str:
        return f"s3://{bucket}/?region={REGION}&endpoint={self.aws.url()}"
