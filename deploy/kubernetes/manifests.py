"""For tests: rendered manifests, whether their shapes are right, and what they promise."""

import functools
import ipaddress
import json
import pathlib
import re
import shutil
import subprocess

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
WRITERS = ("cell", "registrar", "anchor")


def render(folder):
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not there: scripts/setup.sh test"
    ran = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr, ran.stderr
    return list(yaml.safe_load_all(ran.stdout))


def closed(schema):
    """As `--strict`: no property that the schema does not name, as an API server would drop it."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(part) for key, part in schema.items() if not key.startswith("x-kubernetes-")}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        found = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    return found


@functools.cache
def schema_of(kind, version):
    path = HERE / "schemas" / f"{version.replace('/', '_')}_{kind}.json"
    schema = closed(json.loads(path.read_text()))
    for name in ("apiVersion", "kind", "metadata"):
        schema["properties"][name] = {}
    return jsonschema.Draft7Validator(schema)


# It reads the same 2 MB of definitions for each manifest.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def misshapen(manifest):
    """What is wrong with its shape; None: nothing."""
    try:
        kubernetes_validate.validate(manifest, "1.37", strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        errors = list(schema_of(manifest["kind"], manifest["apiVersion"]).iter_errors(manifest))
        return errors[0].message if errors else None
    except kubernetes_validate.ValidationError as error:
        return error.message
    return None


class Deployed:
    """All manifests of an election, by unit."""

    def __init__(self, manifests):
        self.manifests = manifests

    def kinds(self, *kinds):
        return [it for it in self.manifests if it["kind"] in kinds]

    def namespaces(self):
        return {it["metadata"]["name"]: it for it in self.kinds("Namespace")}

    def of(self, namespace, *kinds):
        return [it for it in self.kinds(*kinds) if it["metadata"].get("namespace") == namespace]

    def pods(self):
        return [(it, it["spec"]["template"]["spec"]) for it in self.kinds("StatefulSet", "Deployment")]

    def config(self, namespace):
        return next(it["data"] for it in self.of(namespace, "ConfigMap"))


def unit(namespace, name):
    return namespace.removeprefix(f"{name}-").split("-")[0]


def broken(deployed, name="vote-2027"):
    """Which promises do not hold, by name."""
    return {promise.__name__ for promise in PROMISES if not promise(deployed, name)}


def no_privilege(deployed, name):
    for _, pod in deployed.pods():
        context = pod["securityContext"]
        if not context.get("runAsNonRoot") or not context.get("runAsUser") or context["seccompProfile"] != {"type": "RuntimeDefault"}:
            return False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            own = container["securityContext"]
            if not own["readOnlyRootFilesystem"] or own["allowPrivilegeEscalation"] or own["capabilities"] != {"drop": ["ALL"]} or own.get("privileged"):
                return False
    return all(it["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") == "restricted" for it in deployed.kinds("Namespace"))


def no_token(deployed, name):
    return all(not pod.get("automountServiceAccountToken", True) for _, pod in deployed.pods()) and \
        all(not it.get("automountServiceAccountToken", True) for it in deployed.kinds("ServiceAccount")) and \
        not deployed.kinds("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def own_role(deployed, name):
    """Each unit takes one role of AWS, its own."""
    roles = [it["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn") for it in deployed.kinds("ServiceAccount") if it["metadata"]["name"] == "service"]
    return None not in roles and len(roles) == len(set(roles)) == len(deployed.namespaces()) and \
        all(pod["serviceAccountName"] == "service" for _, pod in deployed.pods())


def images_by_digest(deployed, name):
    images = [container["image"] for _, pod in deployed.pods() for container in [*pod["containers"], *pod.get("initContainers", [])]]
    return all("@sha256:" in image for image in [*images, *(it["spec"]["imageName"] for it in deployed.kinds("Cluster"))])


def probes(deployed, name):
    """The addresses that the program has: /livez and /readyz, at its health port."""
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for _, pod in deployed.pods():
        service = pod["containers"][0]
        if {probe: service[probe]["httpGet"]["path"] for probe in wanted} != wanted:
            return False
        ports = {port["name"]: port["containerPort"] for port in service["ports"]}
        if {service[probe]["httpGet"]["port"] for probe in wanted} != {"health"} or ports != {"service": 7100, "health": 7101}:
            return False
    return True


def standby(deployed, name):
    """Two processes of each log, in two zones; the ready one is not evicted; no rollout that waits for both to be ready."""
    for namespace in deployed.namespaces():
        if unit(namespace, name) not in WRITERS:
            continue
        [writer] = deployed.of(namespace, "StatefulSet")
        spec = writer["spec"]
        spread = {it["topologyKey"]: it["whenUnsatisfiable"] for it in spec["template"]["spec"]["topologySpreadConstraints"]}
        if spec["replicas"] != 2 or spec["updateStrategy"] != {"type": "OnDelete"} or spec["podManagementPolicy"] != "Parallel" or \
                spread.get("topology.kubernetes.io/zone") != "DoNotSchedule":
            return False
        [budget] = deployed.of(namespace, "PodDisruptionBudget")
        if budget["spec"]["minAvailable"] != 1 or budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            return False
    return True


def secrets_for_their_owner(deployed, name):
    """No secret in an environment or a configuration; each one that is mounted is copied, mode 0400, into memory."""
    for it, pod in deployed.pods():
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        if any(container.get("env") or container.get("envFrom") for container in containers):
            return False
        secret = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        if {volume for volume in mounted if volume in secret} - {"database-ca"}:
            return False
        # That secret holds the key of the authority too.
        if [item["key"] for item in secret.get("database-ca", {"items": [{"key": "ca.crt"}]}).get("items", [])] != ["ca.crt"]:
            return False
        copied = [argument for container in pod.get("initContainers", []) for argument in container["args"]]
        wanted = [f"/given/{volume.removeprefix('given-')}/{item['path']}" for volume, given in secret.items() if volume != "database-ca" for item in given["items"]]
        if sorted(copied) != sorted([*wanted, "/run/secrets/tallyroot/"] if wanted else []):
            return False
        if wanted and (pod["initContainers"][0]["command"] != ["/install", "-m", "0400"] or
                       next(volume for volume in pod["volumes"] if volume["name"] == "secrets")["emptyDir"].get("medium") != "Memory"):
            return False
    return True


def nothing_by_default(deployed, name):
    for namespace in deployed.namespaces():
        policies = deployed.of(namespace, "NetworkPolicy")
        everything = [it["spec"] for it in policies if it["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]
        if len(everything) != 1:
            return False
    return True


def apart(deployed, name):
    """No cell and no registrar reach each other, nor a cell another one, nor the internet: by their addresses, and by their namespaces."""
    for namespace in deployed.namespaces():
        kind = unit(namespace, name)
        for policy in deployed.of(namespace, "NetworkPolicy"):
            for side, what in (("egress", "to"), ("ingress", "from")):
                for rule in policy["spec"].get(side, []):
                    # A rule without peers is one for everybody.
                    if not rule.get(what):
                        return False
                    for peer in rule[what]:
                        if not peer_is_fine(kind, peer):
                            return False
    return True


NODES = [ipaddress.ip_network(block) for block in ("10.40.64.0/18", "10.40.128.0/19", "10.40.160.0/19")]
OURS, KUBERNETES = ipaddress.ip_network("10.40.0.0/16"), ipaddress.ip_network("172.20.0.1/32")
OUTSIDERS = {"kube-system", "monitoring", "cnpg-system"}


def peer_is_fine(kind, peer):
    if "namespaceSelector" in peer:
        labels = peer["namespaceSelector"].get("matchLabels", {})
        return set(labels) == {"kubernetes.io/metadata.name"} and labels["kubernetes.io/metadata.name"] in OUTSIDERS
    if "ipBlock" in peer:
        block = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        if any(block.overlaps(nodes) for nodes in NODES):
            excepted = [ipaddress.ip_network(it) for it in peer["ipBlock"].get("except", [])]
            return kind == "anchor" and all(any(nodes.subnet_of(it) for it in excepted) for nodes in NODES)
        # Outside there is one thing for a registrar: its voters' provider.
        return block.subnet_of(OURS) or block == KUBERNETES or kind == "registrar" and block.prefixlen >= 24
    # Within its own namespace.
    return bool(peer.get("podSelector", {}).get("matchLabels"))


def scraped(deployed, name):
    """Each unit's health port, as the job that the alert rules know, under one label of the election, which all rules ask for."""
    found = set()
    for namespace in deployed.namespaces():
        monitors = [it["spec"] for it in deployed.of(namespace, "PodMonitor")]
        if [(it["jobLabel"], it["podMetricsEndpoints"][0]["port"]) for it in monitors] != [("app.kubernetes.io/name", "health")]:
            return False
        found |= {rule["replacement"] for it in monitors for rule in it["podMetricsEndpoints"][0].get("relabelings", []) if rule["targetLabel"] == "election"} or {None}
        [workload] = deployed.of(namespace, "StatefulSet", "Deployment")
        if workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] != "tallyroot":
            return False
    rules = [rule for it in deployed.kinds("PrometheusRule") for group in it["spec"]["groups"] for rule in group["rules"]]
    asked = {election for rule in rules if "alert" in rule for election in re.findall(r'(?:\btallyroot[_:]\w+|\bup\b)(?:\{election="([^"]*)")?', rule["expr"])}
    return asked == found and len(found) == 1 and {rule["labels"]["election"] for rule in rules if "record" in rule} == found


def on_nodes_of_their_own(deployed, name):
    wanted = {"cell": "cells", "registrar": "registrars"}
    for it, pod in deployed.pods():
        part = wanted.get(unit(it["metadata"]["namespace"], name), "services")
        if pod.get("nodeSelector") != {"tallyroot/part": part} or [tolerated["value"] for tolerated in pod["tolerations"]] != [part]:
            return False
    for it in deployed.kinds("Cluster"):
        if it["spec"]["affinity"]["nodeSelector"] != {"tallyroot/part": wanted.get(unit(it["metadata"]["namespace"], name), "services")}:
            return False
    return True


def durable_databases(deployed, name):
    """CloudNativePG's quorum is the one that the configuration says, on three instances in three zones, and its volumes are encrypted."""
    import tomllib
    encrypted = {it["metadata"]["name"] for it in deployed.kinds("StorageClass") if it["parameters"].get("encrypted") == "true" and it["parameters"].get("kmsKeyId")}
    for it in deployed.kinds("Cluster"):
        spec, namespace = it["spec"], it["metadata"]["namespace"]
        policy = tomllib.loads(deployed.config(namespace)["config.toml"])["database"]["durability"]
        synchronous, instances = spec["postgresql"]["synchronous"], spec["instances"]
        names = [f"{it['metadata']['name']}-{n}" for n in range(1, instances + 1)]
        if policy["standbys"] != names or policy["count"] != synchronous["number"] or synchronous["dataDurability"] != "required":
            return False
        # Promotable replicas that must be seen (R + W > N, N = instances - 1), and the primary, which has every commit.
        if not synchronous.get("failoverQuorum") or policy["failover"] != (instances - 1) - synchronous["number"] + 1 + 1:
            return False
        if spec["affinity"]["podAntiAffinityType"] != "required" or spec["affinity"]["topologyKey"] != "topology.kubernetes.io/zone":
            return False
        if not {spec["storage"]["storageClass"], spec["walStorage"]["storageClass"]} <= encrypted or spec["postgresql"]["parameters"]["fsync"] != "on":
            return False
        if "GRANT pg_monitor TO tallyroot" not in spec["bootstrap"]["initdb"]["postInitSQL"] or spec["enableSuperuserAccess"]:
            return False
    return True


PROMISES = [no_privilege, no_token, own_role, images_by_digest, probes, standby, secrets_for_their_owner, nothing_by_default, apart, scraped,
            on_nodes_of_their_own, durable_databases]
