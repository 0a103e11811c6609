"""For tests: an election whose keys and files are in a server that speaks AWS's protocols, on this machine; made and checked by the real program."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

import boto3

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
PATIENCE_S = 120


def program(name):
    folder = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    for profile in ("debug", "release"):
        if (path := pathlib.Path(folder) / profile / name).is_file():
            return path
    raise AssertionError(f"{name} is not built: cargo build --workspace --locked")


class Stand:
    """The server, and an election in it. Ends with `close`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tallyroot-stand-in-"))
        self.server = None
        try:
            self.start()
            self.make()
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.server:
            self.server.kill()
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder), "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port),
                       "AUTH": "true", "SERVICES": "kms,s3,sts,iam", "IOT_MTLS_ENABLED": "0", "MINISTACK_REGION": REGION}
        with (self.folder / "log").open("wb") as log:
            self.server = subprocess.Popen(["ministack"], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5).close()
                return
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def environment(self):
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    def client(self, service, region=REGION):
        return boto3.client(service, endpoint_url=self.url, region_name=region, aws_access_key_id="test", aws_secret_access_key="test")

    def run(self, name, *arguments):
        return subprocess.run([program(name), *map(str, arguments)], env=self.environment(), cwd=self.folder, capture_output=True, text=True, check=False)

    def make(self):
        wrapping = self.client("kms").create_key()["KeyMetadata"]["Arn"]
        (self.folder / "members.csv").write_text("identity\nada\ngrace\n")
        made = self.run("tallyroot-verify", "witness", "new-key", "--name", "witness.example/w1", "--key", "w.key", "--state", "w")
        assert made.returncode == 0, made.stderr
        vkey = next(word for word in made.stdout.split() if word.startswith("witness.example/w1+"))
        (self.folder / "election.toml").write_text(f"""
            title = "An election"
            base = "vote.example.org"
            roll = "members.csv"
            registration = 2037-03-01T08:00:00Z
            opening = 2037-03-02T08:00:00Z
            closing = 2037-03-09T20:00:00Z
            cells = 2
            anchors = ["court", "university"]
            [[witness]]
            vkey = "{vkey}"
            [[contests]]
            name = "Chair"
            method = "ranked"
            options = ["Ada", "Grace"]
            [keys]
            cells = {{ kms = true }}
            issuance = {{ kms = true }}
            heads = {{ kms = true }}
            authority = {{ kms = true }}
            spares = {{ kms = true }}
            rsa = {{ kms = ["{wrapping}"] }}
            """)
        self.election = self.folder / "election"
        made = self.run("tallyroot", "election", "new", "election.toml", "--out", self.election)
        assert made.returncode == 0, made.stderr
        s3 = self.client("s3")
        s3.create_bucket(Bucket="vote-2027-published", CreateBucketConfiguration={"LocationConstraint": REGION})
        for anchor, region in (("court", REGION), ("university", "eu-west-1")):
            self.client("s3", region).create_bucket(Bucket=f"vote-2027-anchor-{anchor}", ObjectLockEnabledForBucket=True,
                                                    CreateBucketConfiguration={"LocationConstraint": region})
        public = self.election / "public"
        for path in public.rglob("manifest.json"):
            s3.put_object(Bucket="vote-2027-published", Key=str(path.relative_to(public)), Body=path.read_bytes())
