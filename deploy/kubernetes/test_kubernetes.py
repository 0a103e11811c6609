"""An election's overlay: it renders, its shapes are right, it keeps its promises (each seen to fail when broken), and the program takes its configurations."""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

import manifests
import stand_in
import yaml

HERE = pathlib.Path(__file__).parent
NAME = "vote-2027"


def written(stand, out, database, **changes):
    """The overlay by election.py, with example.toml's settings."""
    text = (HERE / "example.toml").read_text().replace('database = "cloudnative-pg"', f'database = "{database}"')
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    settings = stand.folder / "settings.toml"
    settings.write_text(text)
    (stand.folder / "global-bundle.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    command = [sys.executable, HERE / "election.py", stand.election, settings, out]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = stand_in.shared()
        cls.deployed = {}
        for database in ("cloudnative-pg", "aurora"):
            out = cls.stand.folder / database
            ran = written(cls.stand, out, database)
            assert ran.returncode == 0, ran.stderr
            cls.deployed[database] = manifests.Deployed(manifests.render(out))

    def test_every_manifest_has_the_shape_of_its_kind(self):
        for database, deployed in self.deployed.items():
            self.assertEqual(sorted(deployed.namespaces()), [f"{NAME}-{unit}" for unit in ("anchor", "cell-0", "cell-1", "registrar-0", "tally")])
            for it in deployed.manifests:
                with self.subTest(f"{database}: {it['kind']} {it['metadata'].get('namespace')}/{it['metadata']['name']}"):
                    self.assertIsNone(manifests.misshapen(it))
        for base in ("witness", "operators", "system"):
            rendered = manifests.render(HERE / "base" / base)
            self.assertEqual([manifests.misshapen(it) for it in rendered], [None] * len(rendered), base)

    def test_a_wrong_shape_is_seen(self):
        deployed = self.deployed["cloudnative-pg"]
        for kind, wrong in (("StatefulSet", {"replica": 2}), ("Cluster", {"instance": 3}), ("PodMonitor", {"jobLabel": 1}), ("TargetGroupBinding", {"targetType": "pod"})):
            it = copy.deepcopy(deployed.kinds(kind)[0])
            it["spec"] |= wrong
            self.assertIsNotNone(manifests.misshapen(it), kind)

    def test_promises(self):
        for database, deployed in self.deployed.items():
            self.assertEqual(manifests.broken(deployed), set(), database)

    def test_each_promise_fails_when_broken(self):
        def writer(d, namespace="cell-0"): return d.of(f"{NAME}-{namespace}", "StatefulSet")[0]["spec"]
        def pod(d, namespace="cell-0"): return writer(d, namespace)["template"]["spec"]
        def policy(d, name): return next(it["spec"] for it in d.of(f"{NAME}-cell-0", "NetworkPolicy") if it["metadata"]["name"] == name)
        def database(d): return d.of(f"{NAME}-cell-0", "Cluster")[0]["spec"]
        def account(d): return next(it for it in d.of(f"{NAME}-cell-0", "ServiceAccount") if it["metadata"]["name"] == "service")

        def root(d): pod(d)["securityContext"]["runAsNonRoot"] = False
        def writable(d): pod(d)["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
        def unconfined(d): pod(d)["securityContext"]["seccompProfile"] = {"type": "Unconfined"}
        def baseline(d): d.kinds("Namespace")[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline"
        def token(d): pod(d)["automountServiceAccountToken"] = True
        def another(d): account(d)["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] = "arn:aws:iam::123456789012:role/vote-2027-cell-1"
        def tag(d): pod(d)["containers"][0]["image"] = "tallyroot:latest"
        def path(d): pod(d)["containers"][0]["readinessProbe"]["httpGet"]["path"] = "/healthz"
        def alone(d): writer(d)["replicas"] = 1
        def rolling(d): writer(d)["updateStrategy"] = {"type": "RollingUpdate"}
        def one_zone(d): pod(d)["topologySpreadConstraints"].pop(0)
        def stuck(d): del d.of(f"{NAME}-cell-0", "PodDisruptionBudget")[0]["spec"]["unhealthyPodEvictionPolicy"]
        def uncopied(d): pod(d, "registrar-0")["initContainers"][0]["args"].remove("/given/files/code.key")
        def on_disk(d): next(it for it in pod(d)["volumes"] if it["name"] == "secrets")["emptyDir"] = {}
        def in_environment(d): pod(d)["containers"][0]["env"] = [{"name": "TALLYROOT_X", "value": "y"}]
        def with_its_key(d): del next(it for it in pod(d)["volumes"] if it["name"] == "database-ca")["secret"]["items"]
        def opened(d): policy(d, "closed")["policyTypes"].remove("Egress")
        def everybody(d): policy(d, "front")["ingress"][0].pop("from")
        def registrars(d): policy(d, "aws")["egress"][0]["to"].append({"ipBlock": {"cidr": "10.40.128.0/20"}})
        def by_namespace(d): policy(d, "metrics")["ingress"][0]["from"].append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"{NAME}-registrar-0"}}})
        def any_namespace(d): policy(d, "metrics")["ingress"][0]["from"].append({"namespaceSelector": {}})
        def internet(d): policy(d, "aws")["egress"][0]["to"].append({"ipBlock": {"cidr": "0.0.0.0/0"}})
        def unscraped(d): d.of(f"{NAME}-cell-0", "PodMonitor")[0]["spec"]["podMetricsEndpoints"][0]["port"] = "service"
        def other_job(d): d.of(f"{NAME}-cell-0", "PodMonitor")[0]["spec"]["jobLabel"] = "app"
        def unnamed(d): del d.of(f"{NAME}-cell-0", "PodMonitor")[0]["spec"]["podMetricsEndpoints"][0]["relabelings"]
        def mixed(d): d.kinds("PrometheusRule")[0]["spec"]["groups"][1]["rules"][0]["expr"] = 'up{job="tallyroot"} == 0'
        def elsewhere(d): pod(d)["nodeSelector"] = {"tallyroot/part": "registrars"}
        def preferred(d): database(d)["postgresql"]["synchronous"]["dataDurability"] = "preferred"
        def any_replica(d): database(d)["postgresql"]["synchronous"]["failoverQuorum"] = False
        def fewer(d): database(d)["instances"] = 2
        def same_zone(d): database(d)["affinity"]["podAntiAffinityType"] = "preferred"
        def plain(d): d.kinds("StorageClass")[0]["parameters"]["encrypted"] = "false"
        def blind(d): database(d)["bootstrap"]["initdb"]["postInitSQL"] = []
        for mutate, promise in (
                (root, "no_privilege"), (writable, "no_privilege"), (unconfined, "no_privilege"), (baseline, "no_privilege"), (token, "no_token"), (another, "own_role"),
                (tag, "images_by_digest"), (path, "probes"), (alone, "standby"), (rolling, "standby"), (one_zone, "standby"), (stuck, "standby"),
                (uncopied, "secrets_for_their_owner"), (on_disk, "secrets_for_their_owner"), (in_environment, "secrets_for_their_owner"), (with_its_key, "secrets_for_their_owner"), (opened, "nothing_by_default"),
                (everybody, "apart"), (registrars, "apart"), (by_namespace, "apart"), (any_namespace, "apart"), (internet, "apart"), (unscraped, "scraped"), (other_job, "scraped"), (unnamed, "scraped"), (mixed, "scraped"),
                (elsewhere, "on_nodes_of_their_own"), (preferred, "durable_databases"), (any_replica, "durable_databases"), (fewer, "durable_databases"),
                (same_zone, "durable_databases"), (plain, "durable_databases"), (blind, "durable_databases")):
            with self.subTest(mutate.__name__):
                deployed = manifests.Deployed(copy.deepcopy(self.deployed["cloudnative-pg"].manifests))
                mutate(deployed)
                self.assertEqual(manifests.broken(deployed), {promise})

    def test_the_program_takes_every_configuration_and_lacks_nothing_but_the_database(self):
        """Keys, bucket, anchors and manifest are asked for real, in the stand-in, as the unit's role by its service account's token. The database's name is one of a cluster that is not here."""
        for database, deployed in self.deployed.items():
            for namespace in deployed.namespaces():
                role = manifests.unit(namespace, NAME)
                with self.subTest(f"{database}: {namespace}"), tempfile.TemporaryDirectory() as folder:
                    config = self.mounted(deployed, namespace, pathlib.Path(folder))
                    ran = self.stand.run("tallyroot", "serve", role, "--config", config, "--check-config", "--json", identity=self.stand.identity(namespace.removeprefix(f"{NAME}-")))
                    # Whether its ports are free on this machine is not the configuration's doing.
                    checks = [it for it in json.loads(ran.stdout)["checks"] if it["check"] != "listen"]
                    wrong = {it["check"]: it["message"] for it in checks if not it["ok"]}
                    self.assertLessEqual({"published", "schedule", "clock"}, {it["check"] for it in checks if it["ok"]})
                    if role == "tally":
                        self.assertEqual(wrong, {})
                        continue
                    self.assertIn("key", {it["check"] for it in checks if it["ok"]})
                    self.assertLessEqual(set(wrong), {"database", "registrar"})
                    for message in wrong.values():
                        self.assertIn("failed to lookup address information", message)

    def mounted(self, deployed, namespace, folder):
        """What the pod would find, below a folder of this machine: its configuration, the copied secrets, the certificates."""
        data = deployed.config(namespace)
        [workload] = deployed.of(namespace, "StatefulSet", "Deployment")
        pod = workload["spec"]["template"]["spec"]
        registrar = self.stand.election / "registrars" / "0"
        for argument in (it for container in pod.get("initContainers", []) for it in container["args"] if it.startswith("/given/")):
            file = folder / pathlib.PurePath(argument).name
            file.write_bytes(b"secret" if file.name == "password" else (registrar / file.name).read_bytes())
            file.chmod(0o400)
        certificate = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=test", "-out", folder / "ca.crt"]
        subprocess.run(list(map(str, certificate)), check=True, capture_output=True)
        (folder / "manifest.json").write_text(data["manifest.json"])
        config = folder / "config.toml"
        text = data["config.toml"].replace("/run/secrets/tallyroot", str(folder)).replace("/etc/database", str(folder))
        config.write_text(text)
        return config

    def test_operators_take_no_secret_no_token_and_no_pods_place(self):
        rendered = {it["kind"]: it for it in manifests.render(HERE / "base" / "operators")}
        changes = {(resource, verb) for rule in rendered["ClusterRole"]["rules"] for resource in rule["resources"] for verb in rule["verbs"] if verb not in ("get", "list", "watch")}
        self.assertEqual(changes, {("pods", "delete"), ("pods/eviction", "create"), ("nodes", "patch"), ("statefulsets/scale", "patch"), ("statefulsets/scale", "update")})
        looked_at = {resource for rule in rendered["ClusterRole"]["rules"] for resource in rule["resources"]}
        never = {"secrets", "*", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers", "serviceaccounts/token", "nodes/proxy", "services/proxy"}
        self.assertEqual(looked_at & never, set())
        # What a rollout asks for, they may.
        asked = set(re.findall(r'self\.kubectl\("(\w+)", f?"(\w+)', (HERE / "rollout.py").read_text()))
        self.assertEqual(asked, {("get", "statefulset"), ("get", "pods"), ("delete", "pod")})
        given = {(resource, verb) for rule in rendered["ClusterRole"]["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
        self.assertLessEqual({(f"{resource.removesuffix('s')}s", verb) for verb, resource in asked}, given)
        self.assertEqual(rendered["ClusterRoleBinding"]["subjects"], [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "tallyroot-operators"}])

    def test_each_unit_with_secrets_has_its_own_controller_and_every_system_namespace_its_policies(self):
        for database, with_secrets in (("cloudnative-pg", {"registrar-0"}), ("aurora", {"registrar-0", "cell-0", "cell-1", "anchor"})):
            deployed = self.deployed[database]
            there = {it["metadata"]["namespace"] for it in deployed.kinds("NetworkPolicy") if it["metadata"]["name"] == "secrets-controller"}
            self.assertEqual(there, {f"{NAME}-{unit}" for unit in with_secrets})
            self.assertEqual({it["metadata"]["namespace"] for it in deployed.kinds("ExternalSecret")}, there)
        system = manifests.render(HERE / "base" / "system")
        everything = {it["metadata"]["namespace"] for it in system if it["spec"]["podSelector"] == {} and it["spec"]["policyTypes"] == ["Ingress", "Egress"]}
        self.assertEqual(everything, manifests.OUTSIDERS)

    def test_a_registrars_voters_sign_in_at_a_provider_and_a_database_has_its_fourth_instance(self):
        out = self.stand.folder / "further"
        more = {"# [standbys]": "[standbys]", "# cell-0 =": "cell-0 =", "# [oidc": "[oidc", "# issuer": "issuer", "# client_id": "client_id", "# blocks": "blocks"}
        ran = written(self.stand, out, "cloudnative-pg", **more)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        deployed = manifests.Deployed(manifests.render(out))
        self.assertEqual(manifests.broken(deployed) - {"durable_databases"}, set())
        self.assertEqual([manifests.misshapen(it) for it in deployed.kinds("NetworkPolicy")], [None] * len(deployed.kinds("NetworkPolicy")))
        ways = {it["metadata"]["namespace"]: it["spec"]["egress"][0]["to"] for it in deployed.kinds("NetworkPolicy") if it["metadata"]["name"] == "sign-in"}
        self.assertEqual(ways, {f"{NAME}-registrar-0": [{"ipBlock": {"cidr": "203.0.113.16/28"}}]})
        configs = {namespace: tomllib.loads(deployed.config(namespace)["config.toml"]) for namespace in deployed.namespaces()}
        self.assertEqual({namespace: config["oidc"] for namespace, config in configs.items() if "oidc" in config}, {f"{NAME}-registrar-0": {"issuer": "https://id.example.org", "client_id": "vote"}})
        self.assertEqual({namespace: config["sign_in_at"] for namespace, config in configs.items() if "sign_in_at" in config}, {f"{NAME}-tally": ["https://id.example.org"]})
        self.assertEqual(configs[f"{NAME}-cell-0"]["database"]["durability"], {"standbys": ["db-1", "db-3", "db-4"], "count": 1, "failover": 3})
        self.assertEqual(configs[f"{NAME}-cell-1"]["database"]["durability"]["standbys"], ["db-1", "db-2", "db-3"])
        # The program takes it: what is wrong is that nothing is there.
        with tempfile.TemporaryDirectory() as folder:
            config = self.mounted(deployed, f"{NAME}-registrar-0", pathlib.Path(folder))
            ran = self.stand.run("tallyroot", "serve", "registrar", "--config", config, "--check-config", "--json", identity=self.stand.identity("registrar-0"))
            self.assertLessEqual({it["check"] for it in json.loads(ran.stdout)["checks"] if not it["ok"]}, {"database", "registrar", "listen", "oidc"})
        for old, new, words in (('blocks = ["203.0.113.16/28"]', 'blocks = ["203.0.0.0/16"]', "a registrar reaches nobody else"), ('blocks = ["203.0.113.16/28"]', 'blocks = ["10.40.64.0/24"]', "a registrar reaches nobody else"),
                                ('blocks = ["203.0.113.16/28"]', 'blocks = ["203.0.113.16/28"]\norigins = ["https://id.example.org/x"]', "without a path"), ("oidc.registrar-0", "oidc.cell-0", "of a registrar"), ('"db-3", "db-4"', '"db-3"', "its three instances")):
            with self.subTest(new):
                ran = written(self.stand, out, "cloudnative-pg", **more, **{old: new})
                self.assertEqual(ran.returncode, 1)
                self.assertIn(words, ran.stderr)

    def test_the_alert_rules_are_ours(self):
        ours = yaml.safe_load((HERE.parent / "observability" / "alerts.yaml").read_text())["groups"]
        [rule] = self.deployed["aurora"].kinds("PrometheusRule")
        known, *groups = rule["spec"]["groups"]
        label = self.label()
        for group in groups:
            for it in group["rules"]:
                it["expr"] = it["expr"].replace(f'{{election="{label}"}}', "").replace(f'election="{label}",', "")
        self.assertEqual(groups, ours)
        recorded = {(it["record"], it["labels"].get("role")): it["expr"] for it in known["rules"]}
        wanted = {(f"tallyroot:{name}", None): f"vector({seconds})" for name, seconds in (("head_interval_seconds", 10), ("batch_wait_seconds", 10))}
        for role, processes in (("cell 0", 2), ("cell 1", 2), ("registrar 0", 2), ("anchor", 2), ("tally", 1)):
            wanted["tallyroot:processes_wanted", role] = f"vector({processes})"
        self.assertEqual(recorded, wanted)

    def label(self):
        return f"{NAME}-{(self.stand.election / 'election').read_text()[:8]}"

    def test_the_alert_rules_see_what_never_came_up_beside_another_election_of_that_name(self):
        [rule] = self.deployed["cloudnative-pg"].kinds("PrometheusRule")
        roles = {"cell 0": "a:1", "cell 1": "a:2", "registrar 0": "a:3", "tally": "a:4"}
        series = []
        for election, there in ((self.label(), {role: at for role, at in roles.items() if role != "cell 1"}), (f"{NAME}-00000000", {**roles, "anchor": "a:5"})):
            for role, instance in there.items():
                series += [{"series": f'tallyroot_process{{election="{election}",role="{role}",instance="{instance}"}}', "values": "1x100"},
                           {"series": f'tallyroot_ready{{election="{election}",instance="{instance}"}}', "values": "1x100"}]
        raised = lambda name, role, severity, summary: {"exp_labels": {"election": self.label(), "role": role, "severity": severity},
                                                        "exp_annotations": {"summary": summary, "runbook_url": f"specs/runbook.md#{name.lower()}"}}
        cases = {"TallyrootNobodyServes": [raised("TallyrootNobodyServes", role, "page", f"no process of {role} serves") for role in ("cell 1", "anchor")],
                 "TallyrootNoStandby": [raised("TallyrootNoStandby", role, "ticket", f"{role} has 1 process: the next failure is an outage") for role in ("cell 0", "registrar 0")]}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
            tests = [{"interval": "15s", "input_series": series, "alert_rule_test": [{"eval_time": "20m", "alertname": name, "exp_alerts": alerts} for name, alerts in cases.items()]}]
            (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": tests}))
            ran = subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_the_commands_of_the_operations_page_exist(self):
        page = (HERE.parents[1] / "specs" / "operations.md").read_text()
        # Of shell lines and of `…` in the text: up to what ends a command.
        commands = re.findall(r"(?<![\w/.-])/?(tallyroot(?:-verify)?) ((?:[a-z][a-z-]* ?)+)([^#;`\n]*)", page)
        self.assertGreater(len(commands), 15)
        helps = {}
        for name, words, rest in commands:
            given = words.split()
            words = list(given)
            # As many of the words as are commands; what follows them is an argument, such as a file or a role.
            while words and (name, *words) not in helps:
                ran = self.stand.run(name, *words, "--help")
                if ran.returncode == 0:
                    helps[name, *words] = ran.stdout
                    break
                words.pop()
            with self.subTest(f"{name} {' '.join(words)}"):
                self.assertTrue(words)
                self.assertTrue(words == given or "\nCommands:" not in helps[name, *words], given)
                for option in re.findall(r"--[a-z-]+", rest):
                    self.assertIn(option, helps[name, *words])

    def test_the_operations_page_leads_to_every_alert(self):
        page = (HERE.parents[1] / "specs" / "operations.md").read_text()
        rules = yaml.safe_load((HERE.parent / "observability" / "alerts.yaml").read_text())
        for alert in (rule["alert"] for group in rules["groups"] for rule in group["rules"]):
            self.assertIn(f"[{alert.removeprefix('Tallyroot')}](runbook.md#{alert.lower()})", page)

    def test_settings_that_do_not_do_are_refused_with_what_to_do(self):
        out = self.stand.folder / "refused"
        for old, new, words in (
                ('region = "eu-central-1"\ndatabase', 'regoin = "eu-central-1"\ndatabase', "unknown: regoin"),
                ("@sha256:" + "0" * 64 + '"\ntallyroot-secrets', ':latest"\ntallyroot-secrets', "name it by its digest"),
                ("court = {", "curt = {", "anchors.court.bucket is missing"),
                ('role/{unit}"', 'role/all"', "each unit has a role of its own"),
                ('cell-1 = "arn', 'cell-9 = "arn', "target_groups.cell-1 is missing")):
            with self.subTest(words):
                ran = written(self.stand, out, "cloudnative-pg", **{old: new})
                self.assertEqual(ran.returncode, 1)
                self.assertIn(words, ran.stderr)
                self.assertFalse(out.exists())
        key = self.stand.election / "heads" / "main.kms"
        named = key.read_text()
        key.unlink()
        self.addCleanup(key.write_text, named)
        ran = written(self.stand, out, "cloudnative-pg")
        self.assertIn("takes keys in KMS alone", ran.stderr)


if __name__ == "__main__":
    unittest.main()
