"""What the templates promise together, each promise seen to fail when a template is broken; cfn-lint; and that Kubernetes' manifests name the same things."""

import copy
import fnmatch
import ipaddress
import pathlib
import re
import subprocess
import unittest

import cost
import promises
import yaml

HERE = pathlib.Path(__file__).parent
KUBERNETES = HERE.parent / "kubernetes"
TEMPLATES = promises.load()


class Templates(unittest.TestCase):
    def test_cfn_lint_passes(self):
        edge = HERE / "edge.yaml"
        others = sorted(set(HERE.glob("*.yaml")) - {edge})
        for region, files in (("eu-central-1", others), ("us-east-1", [edge])):
            ran = subprocess.run(["cfn-lint", "--regions", region, "--", *map(str, files)], capture_output=True, text=True, check=False)
            self.assertEqual((ran.returncode, ran.stdout), (0, ""))

    def test_promises(self):
        self.assertEqual(promises.broken(TEMPLATES), set())

    def test_each_promise_fails_when_broken(self):
        def of(t, template, name): return t[template]["Resources"][name]["Properties"]
        def statement(document, sid): return next(it for it in document["Statement"] if it.get("Sid") == sid)
        def published(t, sid): return statement(of(t, "published-bucket", "Policy")["PolicyDocument"], sid)
        def anchor(t, sid): return statement(of(t, "anchor-bucket", "Policy")["PolicyDocument"], sid)
        def key(t, sid, template="log-key", name="Key"): return statement(of(t, template, name)["KeyPolicy"], sid)
        def unit_policy(t, n): return list(promises.branches(of(t, "unit-role", "Role")["Policies"]))[n]["PolicyDocument"]
        def site(t): return of(t, "edge", "Site")["DistributionConfig"]
        def network(t): return t["network"]["Resources"]

        def gone(t): del t["log-key"]["Resources"]["Key"]["DeletionPolicy"]
        def plain(t): of(t, "published-bucket", "Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"] = {"SSEAlgorithm": "AES256"}
        def unreadable(t): of(t, "anchor-bucket", "Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"] = {"SSEAlgorithm": "aws:kms"}
        def open_database(t): of(t, "database", "Cluster")["StorageEncrypted"] = False
        def default_key(t): del of(t, "database", "Cluster")["KmsKeyId"]
        def open_disk(t): of(t, "cluster", "CellTemplate")["LaunchTemplateData"]["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] = False
        def open_secrets(t): del of(t, "cluster", "Cluster")["EncryptionConfig"]
        def deletes(t): published(t, "NobodyDeletes")["NotResource"] = {"Fn::Sub": "${Bucket.Arn}/*"}
        def versions(t): published(t, "NobodyDeletesVersions")["Action"] = "s3:DeleteBucket"
        def but_admins(t): anchor(t, "NobodyDeletes")["Condition"] = {"StringNotEquals": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/admin"}}
        def expires(t): of(t, "published-bucket", "Bucket")["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] = 30
        def unversioned(t): of(t, "published-bucket", "Bucket")["VersioningConfiguration"]["Status"] = "Suspended"
        def blindly(t): published(t, "NobodyReplacesBlindly")["Condition"]["Null"].pop("s3:if-match")
        def twice(t): published(t, "OnlyCheckpointsAndResultsMove")["NotResource"].append({"Fn::Sub": "${Bucket.Arn}/elections/*/batches/*"})
        def writes(t): anchor(t, "AnyoneReads")["Action"].append("s3:PutObject")
        def readable(t): published(t, "CloudFrontReads").update(Principal="*")
        def acls(t): of(t, "published-bucket", "Bucket")["PublicAccessBlockConfiguration"]["BlockPublicPolicy"] = False
        def any_distribution(t): published(t, "CloudFrontReads")["Condition"] = {}
        def http(t): published(t, "OnlyByTls")["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}
        def unforced(t): of(t, "database", "Settings")["Parameters"]["rds.force_ssl"] = "0"
        def listens(t): of(t, "load-balancers", "CellsListener")["Protocol"] = "HTTP"
        def behind(t): of(t, "route", "Targets")["Protocol"] = "HTTP"
        def posted(t): site(t)["CacheBehaviors"][0]["ViewerProtocolPolicy"] = "redirect-to-https"
        def inner(t): of(t, "edge", "CellsOrigin")["VpcOriginEndpointConfig"]["OriginProtocolPolicy"] = "http-only"
        def admin_signs(t): key(t, "Administer")["Action"].append("kms:Sign")
        def account_signs(t): key(t, "Sign")["Principal"] = {"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}}
        def any_action(t): key(t, "Sign")["Action"] = ["kms:*"]
        def other_key(t): of(t, "log-key", "Key")["KeySpec"] = "ECC_NIST_P256"
        def for_ever(t): of(t, "log-key", "Key")["KeyPolicy"]["Statement"].append(of(t, "log-key", "Key")["KeyPolicy"]["Statement"].pop(2)["Fn::If"][1])
        def by_role(t): unit_policy(t, 0)["Statement"].append({"Sid": "Signs", "Effect": "Allow", "Action": "kms:Sign", "Resource": "arn:aws:kms:eu-central-1:123456789012:key/1"})
        def unbound(t): del key(t, "Unwrap", "wrapping-key")["Condition"]
        def admin_unwraps(t): key(t, "Administer", "wrapping-key")["Action"].append("kms:Decrypt")
        def from_anywhere(t): del key(t, "Sign")["Condition"]
        def one_person(t): del t["log-key"]["Rules"]["Apart"]
        def unwraps_anywhere(t): key(t, "Unwrap", "wrapping-key")["Condition"]["StringEquals"].pop("aws:SourceVpc")
        def wraps_alone(t): del t["wrapping-key"]["Rules"]
        def unseen(t): of(t, "watch", "Changed")["EventPattern"]["detail"]["$or"][1]["eventName"].remove("PutKeyPolicy")
        def asleep(t): of(t, "watch", "Changed")["State"] = "DISABLED"
        def untold(t): del of(t, "watch", "Watchers")["Subscription"]
        def anyhow(t): del key(t, "ThroughTheStore", "store-keys", "PublishedKey")["Condition"]
        def admin_reads(t): key(t, "Administer", "store-keys", "SecretsKey")["Action"].append("kms:Decrypt")
        def rule(t, kind, source, target):
            other = "DestinationSecurityGroupId" if kind == "Egress" else "SourceSecurityGroupId"
            own, peer = (source, target) if kind == "Egress" else (target, source)
            network(t)["New"] = {"Type": f"AWS::EC2::SecurityGroup{kind}", "Properties": {"GroupId": {"Ref": own}, other: {"Ref": peer}, "IpProtocol": "tcp", "FromPort": 7100, "ToPort": 7100}}
        def cell_asks(t): rule(t, "Egress", "CellNodes", "RegistrarNodes")
        def cell_answers(t): rule(t, "Ingress", "RegistrarNodes", "CellNodes")
        def crossed(t): rule(t, "Ingress", "RegistrarsFront", "CellNodes")
        def by_address(t): network(t)["New"] = {"Type": "AWS::EC2::SecurityGroupEgress", "Properties": {"GroupId": {"Ref": "CellNodes"}, "CidrIp": "10.40.0.0/16", "IpProtocol": "-1"}}
        def everywhere(t): del network(t)["CellNodes"]["Properties"]["SecurityGroupEgress"]
        def way_out(t): network(t)["CellsRoutesA"]["Properties"]["RouteTableId"] = {"Ref": "TranslatedA"}
        def leaky(t): network(t)["New"] = {"Type": "AWS::EC2::Route", "Properties": {"RouteTableId": {"Ref": "Closed"}, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": {"Ref": "Gateway"}}}
        def anywhere_else(t): network(t)["ProviderRouteA"]["Properties"]["DestinationCidrBlock"] = "0.0.0.0/0"
        def always_out(t): del network(t)["ProviderRouteB"]["Condition"]
        def large(t): t["network"]["Parameters"]["ProviderBlock"]["AllowedPattern"] = ".*"
        def cells_too(t): network(t)["CellsRoutesA"]["Properties"]["RouteTableId"] = {"Ref": "ProviderA"}
        def any_port(t): network(t)["RegistrarNodesToProvider"]["Properties"]["FromPort"] = 0
        def database_for_all(t): of(t, "database", "Access")["SecurityGroupIngress"][0]["SourceSecurityGroupId"] = {"Ref": "Other"}
        def statement_of(t, endpoint, sid): return statement(of(t, "network", endpoint)["PolicyDocument"], sid)
        def default_policy(t): del of(t, "network", "KmsEndpoint")["PolicyDocument"]
        def anybodys_bucket(t): statement_of(t, "StorageEndpoint", "OurOwn")["Condition"]["StringEquals"].pop("aws:ResourceAccount")
        def anybody(t): statement_of(t, "SecretsEndpoint", "OurOwn")["Condition"]["StringEquals"].pop("aws:PrincipalAccount")
        def any_role(t): statement_of(t, "StsEndpoint", "PodsTakeTheirRoles")["Resource"] = "*"
        def any_name(t): of(t, "network", "NamesAllowed")["Domains"].append("*")
        def unblocked(t): of(t, "network", "NamesRules")["FirewallRules"][2]["Action"] = "ALERT"
        def administers(t): of(t, "cluster", "Operator")["AccessPolicies"] = of(t, "cluster", "Installer")["AccessPolicies"]
        def always(t): del t["cluster"]["Resources"]["Installer"]["Condition"]
        def maker(t): of(t, "cluster", "Cluster")["AccessConfig"]["BootstrapClusterCreatorAdminPermissions"] = True
        def loose(t): of(t, "cluster", "Network")["ConfigurationValues"] = {"Fn::Sub": '{"enableNetworkPolicy": "true"}'}
        def same_group(t): of(t, "cluster", "CellTemplate")["LaunchTemplateData"]["SecurityGroupIds"] = [{"Ref": "RegistrarNodes"}]
        def one_zone(t): of(t, "cluster", "CellsB")["Subnets"] = [{"Fn::Select": [0, {"Ref": "CellsSubnets"}]}]
        def node_role(t): of(t, "cluster", "RegistrarTemplate")["LaunchTemplateData"]["MetadataOptions"]["HttpPutResponseHopLimit"] = 2
        def untainted(t): del of(t, "cluster", "CellsA")["Taints"]
        def any_account(t):
            trust = of(t, "unit-role", "Role")["AssumeRolePolicyDocument"]["Fn::Sub"]
            trust[0] = trust[0].replace("${Name}-${Unit}:service", "*:service")
        def carried_out(t):
            trust = of(t, "unit-role", "Role")["AssumeRolePolicyDocument"]["Fn::Sub"]
            trust[0] = trust[0].replace('"aws:SourceVpc":"${NetworkId}",', "")
        def all_cells(t): unit_policy(t, 0)["Statement"][2]["Resource"][0]["Fn::If"][1]["Fn::Sub"] = "arn:aws:s3:::b/elections/*/cells/*"
        def all_secrets(t):
            resource = unit_policy(t, 1)["Statement"][0]["Resource"]["Fn::Sub"]
            resource[0] = resource[0].replace("${Unit}/", "")
        def all_targets(t): of(t, "cluster", "RoutesRole")["Policies"][0]["PolicyDocument"]["Statement"][1]["Resource"] = "*"
        def samples(t): of(t, "edge", "Rules")["Rules"][0]["VisibilityConfig"]["SampledRequestsEnabled"] = True
        def logs(t): site(t)["Logging"] = {"Bucket": "logs"}
        def unguarded(t): del site(t)["WebACLId"]
        def cookies(t): of(t, "edge", "Bare")["OriginRequestPolicyConfig"]["CookiesConfig"]["CookieBehavior"] = "all"
        def who(t): of(t, "load-balancers", "Registrars")["LoadBalancerAttributes"][1]["Value"] = "append"
        def public(t): of(t, "load-balancers", "Cells")["Scheme"] = "internet-facing"
        def impatient(t): of(t, "load-balancers", "Cells")["LoadBalancerAttributes"][0]["Value"] = "30"
        def unlimited(t): of(t, "edge", "Rules")["Rules"].pop(0)
        def counted(t): of(t, "edge", "Rules")["Rules"][1]["Action"] = {"Count": {}}
        def unknown(t): t["network"]["Parameters"]["Other"] = {"Type": "String"}
        def renamed(t): t["network"]["Outputs"]["CellNode"] = t["network"]["Outputs"].pop("CellNodes")
        for promise, mutations in {
                "kept": (gone,), "encrypted": (plain, unreadable, open_database, default_key, open_disk, open_secrets),
                "nothing_deleted": (deletes, versions, but_admins, expires, unversioned), "nothing_replaced_blindly": (blindly, twice),
                "no_public_writes": (writes, readable, acls), "only_by_tls": (http, unforced, listens, behind, posted, inner),
                "signs_alone": (admin_signs, account_signs, any_action, other_key, for_ever, by_role, from_anywhere, one_person), "unwraps_its_own": (unbound, admin_unwraps, unwraps_anywhere, wraps_alone), "watched": (unseen, asleep, untold),
                "stores_open_through_stores": (anyhow, admin_reads),
                "apart": (cell_asks, cell_answers, crossed, by_address, everywhere, way_out, leaky, anywhere_else, always_out, large, cells_too, any_port, database_for_all), "no_way_out": (default_policy, anybodys_bucket, anybody, any_role, any_name, unblocked), "operators_without_keys": (administers, always, maker, loose),
                "own_nodes": (same_group, one_zone, node_role, untainted),
                "least_privilege": (any_account, carried_out, all_cells, all_secrets, all_targets), "private_edge": (samples, logs, unguarded, cookies, who, public, impatient),
                "limited": (unlimited, counted), "agreed": (unknown, renamed)}.items():
            for mutate in mutations:
                with self.subTest(f"{promise}: {mutate.__name__}"):
                    templates = copy.deepcopy(TEMPLATES)
                    mutate(templates)
                    self.assertEqual(promises.broken(templates), {promise})
        templates = copy.deepcopy(TEMPLATES)
        any_distribution(templates)
        self.assertEqual(promises.broken(templates), {"no_public_writes"})

    def test_a_connection_that_one_side_allows_the_other_allows_too(self):
        out, into = promises.edges({"network": TEMPLATES["network"]})
        self.assertEqual(out, into)


class AndKubernetes(unittest.TestCase):
    """What both name is named alike."""

    def policies(self):
        for path in KUBERNETES.rglob("*.yaml"):
            for it in yaml.safe_load_all(path.read_text()):
                if it and it.get("kind") == "NetworkPolicy":
                    yield it

    def test_the_blocks_of_the_policies_are_the_subnets(self):
        blocks = promises.blocks(TEMPLATES)
        named = {}
        for policy in self.policies():
            rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
            for peer in (peer for rule in rules for peer in [*rule.get("from", []), *rule.get("to", [])]):
                if (block := peer.get("ipBlock", {}).get("cidr", "0.0.0.0/0")) != "0.0.0.0/0":
                    named.setdefault(policy["metadata"]["name"], set()).add(ipaddress.ip_network(block))
        wanted = {"front": {"LoadBalancers"}, "aws": {"Endpoints"}, "to-database": {"Databases"}, "database": {"ControlPlane"}, "secrets-controller": {"ControlPlane", "Endpoints"},
                  "system": {"ControlPlane", "Endpoints"}, "webhooks": {"ControlPlane"}, "resolver": set()}
        self.assertEqual(set(named), set(wanted))
        # Kubernetes by its service: the policies of the VPC's plugin see that address, others the control plane's own.
        service = ipaddress.ip_network(TEMPLATES["cluster"]["Resources"]["Cluster"]["Properties"]["KubernetesNetworkConfig"]["ServiceIpv4Cidr"])
        kubernetes = ipaddress.ip_network(f"{service[1]}/32")
        resolver = {ipaddress.ip_network(it) for it in ("10.40.0.2/32", "169.254.169.253/32")}
        for policy, kinds in wanted.items():
            self.assertEqual(kubernetes in named[policy], policy in ("database", "secrets-controller", "system"), policy)
            self.assertEqual(named[policy] & resolver, resolver if policy == "resolver" else set(), policy)
            found = named[policy] - {kubernetes} - resolver
            self.assertEqual(len(found), len(kinds), policy)
            for other, subnets in blocks.items():
                for subnet in subnets:
                    self.assertEqual(any(subnet.subnet_of(block) for block in found), other in kinds, f"{policy}: {found}, {other} {subnet}")

    def test_nodes_accounts_secrets_and_ports_are_named_alike(self):
        labels = {it["Labels"]["tallyroot/part"] for _, _, it in promises.resources(TEMPLATES, "AWS::EKS::Nodegroup")}
        script = (KUBERNETES / "election.py").read_text()
        named = set(re.findall(r"nodeSelector, value: \{tallyroot/part: (\w+)\}", "".join(path.read_text() for path in KUBERNETES.rglob("kustomization.yaml"))))
        self.assertEqual(named | {"services"}, labels)
        self.assertIn('return f"{self.settings.name}-{unit.name}"', script)
        self.assertIn('f"{self.settings.name}/{unit.name}/{file}"', script)
        target = TEMPLATES["route"]["Resources"]["Targets"]["Properties"]
        self.assertIn(f'SERVICE, HEALTH = {target["Port"]}, {target["HealthCheckPort"]}', script)
        ports = {(rule[3], rule[4]) for rule in promises.edges(TEMPLATES)[0] if rule[0].endswith("Front")}
        self.assertEqual(ports, {(target["Port"], int(target["HealthCheckPort"]))})

    def test_cloudfront_leads_each_path_to_who_serves_it(self):
        """Every page, every route of the interface, and files: the first pattern that fits counts, and `*` spans slashes."""
        config = TEMPLATES["edge"]["Resources"]["Site"]["Properties"]["DistributionConfig"]

        def origin(path, posted=False):
            for it in config["CacheBehaviors"]:
                if fnmatch.fnmatchcase(path, it["PathPattern"]):
                    self.assertTrue(not posted or "POST" in it["AllowedMethods"], path)
                    return it["TargetOriginId"]
            return config["DefaultCacheBehavior"]["TargetOriginId"]

        root = f"/elections/{'ab' * 32}"
        pages = re.findall(r'asset\("([^"]*)"', (HERE.parents[1] / "tally" / "src" / "web" / "page.rs").read_text())
        self.assertIn("vote", pages)
        for page in pages:
            self.assertEqual(origin(f"{root}/{page}"), "services", page)
        interface = yaml.safe_load((HERE.parents[1] / "specs" / "openapi.yaml").read_text())["paths"]
        by_first = {"registrars": "registrars", "cells": "cells", "notices": "services", "events": "services"}
        seen = set()
        for path, methods in interface.items():
            first = path.split("/")[1]
            if first in by_first:
                seen.add(first)
                self.assertEqual(origin(root + re.sub(r"\{\w+\}", "3", path), "post" in methods), by_first[first], path)
        self.assertEqual(seen, set(by_first))
        for path in ("manifest.json", "results.json", "cells/3/checkpoint", "cells/3/checkpoints/17", "cells/3/batches/7", "cells/3/tile/0/x001/234", "cells/3/tile/entries/000.p/3",
                     "registrars/0/0/checkpoint", "heads/cosigned/12", "anchors/court/5"):
            self.assertEqual(origin(f"{root}/{path}"), "published", path)
        # Else CloudFront would show S3's list of the bucket.
        self.assertEqual(origin("/"), "services")

    def test_the_outputs_that_the_settings_name_exist(self):
        for template, output in re.findall(r"\b([a-z-]+): (\w+)\b(?=[;\s])", "".join(re.findall(r"#.*", (KUBERNETES / "example.toml").read_text()))):
            with self.subTest(f"{template}: {output}"):
                self.assertIn(output, TEMPLATES[template]["Outputs"])


class Operations(unittest.TestCase):
    """specs/operations.md names what there is."""

    PAGE = (HERE.parents[1] / "specs" / "operations.md").read_text()
    # Stacks that are made by a function of the page, or under a shorter name.
    NAMES = {"published": "published-bucket", "balancers": "load-balancers"}
    KINDS = {"role-": "unit-role", "key-": "log-key", "wrapping-": "wrapping-key", "route-": "route", "database-": "database", "anchor-": "anchor-bucket"}

    def template(self, stack):
        return self.NAMES.get(stack) or next((it for start, it in self.KINDS.items() if stack.startswith(start)), stack)

    def test_every_stack_is_made_with_its_parameters(self):
        lines = [line.strip() for line in self.PAGE.replace("\\\n", " ").splitlines() if line.startswith("    ")]
        made = {}
        for line in lines:
            for stack, template, rest in re.findall(r"(?:^|[;{] ?|do )stack (\S+) ([a-z-]+) ([^;}]*)", line):
                self.assertEqual(self.template(stack.replace("$1", "0")), template, line)
                made.setdefault(template, set()).update(re.findall(r'(?:^|[ "])([A-Z]\w+)=', rest))
        self.assertEqual(set(made), set(TEMPLATES))
        made["unit-role"] |= {"AnchorBuckets", "AnchorObjects"}
        for template, given in made.items():
            parameters = TEMPLATES[template]["Parameters"]
            self.assertLessEqual(given, set(parameters), template)
            self.assertLessEqual({name for name, it in parameters.items() if "Default" not in it}, given, template)

    def test_every_output_that_is_asked_for_exists(self):
        asked = re.findall(r"\$\(out (\S+) (\S+?)\)", self.PAGE)
        self.assertGreater(len(asked), 40)
        for stack, output in asked:
            output = output.replace("$2", "Cells")
            self.assertIn(output, TEMPLATES[self.template(stack)]["Outputs"], stack)

    def test_the_cost_is_what_is_computed(self):
        self.assertIn(f"{cost.table()}\n\n{cost.assumptions()}\n", self.PAGE)


if __name__ == "__main__":
    unittest.main()
