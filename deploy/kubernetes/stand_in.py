"""For tests: an election whose keys and files are in a server that speaks AWS's protocols, on this machine; made and checked by the real program."""

import atexit
import base64
import contextlib
import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

import boto3
import botocore.exceptions

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
ACCOUNT = "000000000000"
NAME = "vote-2027"
NETWORK = "vpc-0123456789abcdef0"
# Of the cluster's service accounts.
ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
PATIENCE_S = 120
# The server dies with the test, however that ends: its keeper waits on a pipe that only the test holds open.
KEEPER = """
exec 3<&0 </dev/null
ministack & server=$!
( cat <&3 >/dev/null; kill -KILL "$server" 2>/dev/null ) &
wait "$server"
"""


def program(name):
    folder = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    for profile in ("debug", "release"):
        if (path := pathlib.Path(folder) / profile / name).is_file():
            return path
    raise AssertionError(f"{name} is not built: cargo build --workspace --locked")


@functools.cache
def shared():
    """One for all tests of a run; it ends with it."""
    stand = Stand()
    atexit.register(stand.close)
    return stand


def unconditional(policy):
    return {**policy, "Statement": [{key: value for key, value in it.items() if key != "Condition"} for it in policy["Statement"]]}


class Stand:
    """The server, and an election in it. Ends with `close`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tallyroot-stand-in-"))
        self.server, self.clients, self.session = None, {}, boto3.Session()
        try:
            self.start()
            self.make()
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.server:
            self.server.stdin.close()
            self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder), "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port),
                       "AUTH": "true", "SERVICES": "kms,s3,sts,iam,cloudformation,secretsmanager", "IOT_MTLS_ENABLED": "0", "MINISTACK_REGION": REGION}
        with (self.folder / "log").open("wb") as log:
            self.server = subprocess.Popen(["sh", "-c", KEEPER], cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)
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
        """Of a process that reaches the server as nobody yet."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION}

    def identity(self, unit, account="service"):
        """As a pod has it: a token of its service account, and the role that its service account names."""
        claims = {"iss": f"https://{ISSUER}", "aud": "sts.amazonaws.com", "sub": f"system:serviceaccount:{NAME}-{unit}:{account}"}
        part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
        token = self.folder / f"{unit}-{account}.token"
        # The server looks at the claims alone; real STS verifies the signature by the cluster's keys.
        token.write_text(f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{'A' * 86}")
        return {"AWS_ROLE_ARN": self.roles[unit], "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_SESSION_NAME": "test"}

    def client(self, service, region=REGION, credentials=None):
        if credentials is None and (service, region) in self.clients:
            return self.clients[service, region]
        given = credentials or {"AccessKeyId": "test", "SecretAccessKey": "test"}
        made = self.session.client(service, endpoint_url=self.url, region_name=region, aws_access_key_id=given["AccessKeyId"],
                            aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given.get("SessionToken"))
        if credentials is None:
            self.clients[service, region] = made
        return made

    def person(self, name):
        """What somebody gets who takes this role."""
        return self.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}", RoleSessionName="test")["Credentials"]

    def credentials(self, unit, account="service"):
        """What a pod with this service account gets from STS."""
        identity = self.identity(unit, account)
        token = pathlib.Path(identity["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text()
        return self.client("sts").assume_role_with_web_identity(RoleArn=identity["AWS_ROLE_ARN"], RoleSessionName="test", WebIdentityToken=token)["Credentials"]

    def run(self, name, *arguments, identity=None):
        environment = {**self.environment(), **(identity or {})}
        return subprocess.run([program(name), *map(str, arguments)], env=environment, cwd=self.folder, capture_output=True, text=True, check=False)

    def stack(self, name, template, **parameters):
        """A stack of deploy/aws; its outputs. Made again, it is updated."""
        given = {"StackName": name, "TemplateBody": (ROOT / "deploy" / "aws" / f"{template}.yaml").read_text(), "Capabilities": ["CAPABILITY_NAMED_IAM"],
                 "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]}
        formation = self.client("cloudformation")
        (formation.update_stack if name in self.stacks else formation.create_stack)(**given)
        self.stacks.add(name)
        deadline = time.monotonic() + PATIENCE_S
        while (found := formation.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("IN_PROGRESS"):
            assert time.monotonic() < deadline, name
            time.sleep(0.02)
        assert found["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), (name, found["StackStatus"], found.get("StackStatusReason"))
        return {it["OutputKey"]: it["OutputValue"] for it in found.get("Outputs", [])}

    def make(self):
        """As specs/operations.md does it, but for what the server does not know: networks, clusters, Object Lock of buckets that its CloudFormation makes."""
        self.stacks, self.roles = set(), {}
        for person in ("key-administrators", "ceremony", "authority", "operators"):
            trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}]}
            self.client("iam").create_role(RoleName=person, AssumeRolePolicyDocument=json.dumps(trust))
        person = f"arn:aws:iam::{ACCOUNT}:role/{{}}".format
        stores = self.stack("store-keys", "store-keys", Name=NAME, AdminRoleArn=person("key-administrators"))
        self.stack("published", "published-bucket", BucketName=f"{NAME}-published", PublishedKeyArn=stores["PublishedKeyArn"])
        buckets = [f"arn:aws:s3:::{NAME}-anchor-{anchor}" for anchor in ("court", "university")]
        for unit in ("cell-0", "cell-1", "registrar-0", "anchor", "tally"):
            kind, _, index = unit.partition("-")
            more = {"AnchorBuckets": ",".join(buckets), "AnchorObjects": ",".join(f"{it}/*" for it in buckets)} if kind == "anchor" else {}
            self.roles[unit] = self.stack(f"role-{unit}", "unit-role", Name=NAME, Kind=kind, Index=index, PublishedBucket=f"{NAME}-published", PublishedKeyArn=stores["PublishedKeyArn"],
                                          SecretsKeyArn=stores["SecretsKeyArn"], IdentitiesArn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}", IdentitiesIssuer=ISSUER, NetworkId=NETWORK, **more)["RoleArn"]
            self.anywhere(unit)
        writers = {"cell-0": self.roles["cell-0"], "cell-1": self.roles["cell-1"], "issuance-0-0": self.roles["registrar-0"], "heads": self.roles["anchor"], "authority": person("authority")}
        self.keys = {}

        def key(log, which, ceremony, enabled):
            self.keys[log, which] = self.stack(f"key-{log}-{which}", "log-key", Name=NAME, Log=log, Which=which, SigningRoleArn=writers[log], AdminRoleArn=person("key-administrators"),
                                               CeremonyRoleArn=ceremony, NetworkId="" if log == "authority" else NETWORK, Enabled=enabled)["KeyArn"]

        def wrapping(ceremony):
            return self.stack("wrapping-0", "wrapping-key", Name=NAME, Registrar="0", RegistrarRoleArn=writers["issuance-0-0"], AdminRoleArn=person("key-administrators"), CeremonyRoleArn=ceremony, NetworkId=NETWORK)["KeyArn"]

        all_keys = [(log, which) for which in ("main", "spare") for log in writers]
        for log, which in all_keys:
            key(log, which, person("ceremony"), "true")
        self.wrapping = wrapping(person("ceremony"))
        self.new()
        for log, which in all_keys:
            key(log, which, "", "true" if which == "main" else "false")
            if which == "spare":
                # Its CloudFormation does not.
                self.client("kms").disable_key(KeyId=self.keys[log, which])
        wrapping("")
        # Nor has it networks: what is asked of it comes from none.
        self.inside = {}
        for name, arn in self.keys.items():
            self.inside[name] = self.client("kms").get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
            self.policy_of(arn, json.dumps(unconditional(json.loads(self.inside[name]))))
        # It does not tell a policy of a request's encryption context, by which the template narrows who unwraps what.
        policy = json.loads(self.client("kms").get_key_policy(KeyId=self.wrapping, PolicyName="default")["Policy"])
        self.policy_of(self.wrapping, json.dumps(unconditional(policy)))
        s3 = self.client("s3")
        for anchor, region in (("court", REGION), ("university", "eu-west-1")):
            self.client("s3", region).create_bucket(Bucket=f"{NAME}-anchor-{anchor}", ObjectLockEnabledForBucket=True, CreateBucketConfiguration={"LocationConstraint": region})
        self.policy = json.loads(s3.get_bucket_policy(Bucket=f"{NAME}-published")["Policy"])
        self.without(*self.BEYOND)
        public = self.election / "public"
        for path in public.rglob("manifest.json"):
            s3.put_object(Bucket=f"{NAME}-published", Key=str(path.relative_to(public)), Body=path.read_bytes(), IfNoneMatch="*")

    def policy_of(self, key, policy):
        self.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=policy)

    def anywhere(self, unit):
        """The unit's role, as the template makes it but for the network from which it is taken: the server has none, so nobody would be inside."""
        with contextlib.suppress(botocore.exceptions.ClientError):
            self.credentials(unit)
            raise AssertionError(f"{unit}: its role was taken from outside the network")
        iam, name = self.client("iam"), self.roles[unit].rpartition("/")[2]
        trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        del trust["Statement"][0]["Condition"]["StringEquals"]["aws:SourceVpc"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))

    BEYOND = ("OnlyByTls", "NobodyReplacesBlindly", "OnlyCheckpointsAndResultsMove")

    def without(self, *statements):
        """The published bucket's policy without what the stand-in cannot keep: it speaks plain HTTP, and does not tell a policy of If-None-Match."""
        kept = [it for it in self.policy["Statement"] if it["Sid"] not in statements]
        self.client("s3").put_bucket_policy(Bucket=f"{NAME}-published", Policy=json.dumps({**self.policy, "Statement": kept}))

    def new(self):
        """The ceremony, as its role: the keys are named in the manifest's order."""
        (self.folder / "members.csv").write_text("identity\nada\ngrace\n")
        made = self.run("tallyroot-verify", "witness", "new-key", "--name", "witness.example/w1", "--key", "w.key", "--state", "w")
        assert made.returncode == 0, made.stderr
        vkey = next(word for word in made.stdout.split() if word.startswith("witness.example/w1+"))
        named = lambda which, *logs: json.dumps([self.keys[log, which] for log in logs])
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
            cells = {{ kms = {named("main", "cell-0", "cell-1")} }}
            issuance = {{ kms = {named("main", "issuance-0-0")} }}
            heads = {{ kms = {named("main", "heads")} }}
            authority = {{ kms = {named("main", "authority")} }}
            spares = {{ kms = {named("spare", "cell-0", "cell-1", "issuance-0-0", "heads", "authority")} }}
            rsa = {{ kms = ["{self.wrapping}"] }}
            """)
        given = self.person("ceremony")
        as_ceremony = {"AWS_ACCESS_KEY_ID": given["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"], "AWS_SESSION_TOKEN": given["SessionToken"]}
        self.election = self.folder / "election"
        made = self.run("tallyroot", "election", "new", "election.toml", "--out", self.election, identity=as_ceremony)
        assert made.returncode == 0, made.stderr
