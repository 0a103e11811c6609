#!/usr/bin/env python3
"""Replaces the processes of units one after the other, so that each is served all the time but for the seconds of a takeover.

    deploy/kubernetes/rollout.py status NAMESPACE…      what runs, and what of it is outdated
    deploy/kubernetes/rollout.py update NAMESPACE…      after `kubectl apply`: the standby anew, then its turn, then the other one
    deploy/kubernetes/rollout.py hand-over NAMESPACE…   let the standby take over, before the node of the active one is drained

Kubernetes cannot do this by itself: of the two processes only the active one is ready, and its rollout waits for both. Units are taken in the order given;
one that does not come back as it should ends the rollout before the next one is touched. Give one cell first, look at it, then the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

KUBECTL = os.environ.get("KUBECTL", "kubectl")
SELECTOR = "app.kubernetes.io/name=tallyroot"
HEALTH = 7101
LOOK_S = float(os.environ.get("ROLLOUT_LOOK_S", "1"))


class Failed(Exception):
    """Something that the user can read and do something about."""


class Pod:
    """One process, as Kubernetes and the process itself see it."""

    def __init__(self, unit: Unit, given: dict) -> None:
        self.unit, self.name, self.uid = unit, given["metadata"]["name"], given["metadata"]["uid"]
        self.revision = given["metadata"].get("labels", {}).get("controller-revision-hash")
        self.going = "deletionTimestamp" in given["metadata"]
        conditions = given.get("status", {}).get("conditions", [])
        self.ready = any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
        running = given.get("status", {}).get("containerStatuses", [])
        self.started = bool(running) and all(it.get("started") for it in running)

    def state(self) -> str:
        """`active`, `standby`…: by its own word, through the kubelet, since the network lets only Prometheus and the load balancers ask."""
        if self.going or not self.started:
            return "stopping" if self.going else "starting"
        command = [KUBECTL, "port-forward", "--namespace", self.unit.namespace, f"pod/{self.name}", f":{HEALTH}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
            try:
                found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
                if not found:
                    return "silent"
                with contextlib.suppress(OSError, ValueError, KeyError):
                    with urllib.request.urlopen(f"http://127.0.0.1:{found.group(1)}/status", timeout=5) as answer:
                        return json.load(answer)["state"]
                return "silent"
            finally:
                forward.terminate()


class Unit:
    """A namespace with its two processes."""

    def __init__(self, namespace: str, patience_s: float) -> None:
        self.namespace, self.patience_s = namespace, patience_s

    def kubectl(self, *arguments: str) -> str:
        command = [KUBECTL, arguments[0], "--namespace", self.namespace, *arguments[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{self.namespace}: kubectl {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def revision(self) -> str:
        """Of the pods that would be made now, once its controller has seen what was applied."""
        deadline = time.monotonic() + self.patience_s
        while True:
            given = json.loads(self.kubectl("get", "statefulset/service", "--output", "json"))
            if given["status"].get("observedGeneration") == given["metadata"]["generation"]:
                return given["status"]["updateRevision"]
            if time.monotonic() > deadline:
                raise Failed(f"{self.namespace}: its controller does not see what was applied")
            time.sleep(LOOK_S)

    def pods(self) -> list[Pod]:
        items = json.loads(self.kubectl("get", "pods", "--selector", SELECTOR, "--output", "json"))["items"]
        return [Pod(self, item) for item in items]

    def pair(self) -> tuple[Pod, Pod] | str:
        """The active one and its standby; else what is there instead."""
        pods = self.pods()
        states = {pod.name: pod.state() for pod in pods}
        active = [pod for pod in pods if states[pod.name] == "active" and pod.ready]
        standby = [pod for pod in pods if states[pod.name] == "standby"]
        if len(pods) == 2 and len(active) == 1 and len(standby) == 1:
            return active[0], standby[0]
        return ", ".join(f"{name} {state}" for name, state in sorted(states.items())) or "no pods"

    def await_pair(self, without: set[str]) -> tuple[Pod, Pod]:
        """A whole pair again, none of which is one of these."""
        deadline = time.monotonic() + self.patience_s
        while True:
            pair = self.pair()
            if not isinstance(pair, str) and without.isdisjoint(pod.uid for pod in pair):
                return pair
            if time.monotonic() > deadline:
                raise Failed(f"{self.namespace}: no active process with a standby after {self.patience_s:.0f} s: {pair if isinstance(pair, str) else 'the old ones'}. "
                             "Nothing else was touched; specs/runbook.md, TallyrootNobodyServes")
            time.sleep(LOOK_S)

    def whole(self) -> tuple[Pod, Pod]:
        pair = self.pair()
        if isinstance(pair, str):
            raise Failed(f"{self.namespace} is not whole ({pair}): it needs an active process and a standby before anything is replaced")
        return pair

    def replace(self, pod: Pod) -> tuple[Pod, Pod]:
        self.kubectl("delete", f"pod/{pod.name}", "--wait=false")
        return self.await_pair({pod.uid})

    def hand_over(self) -> None:
        active, standby = self.whole()
        now, _ = self.replace(active)
        if now.uid != standby.uid:
            raise Failed(f"{self.namespace}: {standby.name} did not take over, {now.name} did: look at both before the next one")
        print(f"{self.namespace}: {standby.name} serves")

    def update(self) -> None:
        wanted = self.revision()
        _, standby = self.whole()
        if standby.revision != wanted:
            _, standby = self.replace(standby)
            print(f"{self.namespace}: {standby.name} stands by, anew")
        active, _ = self.whole()
        if active.revision != wanted:
            self.hand_over()
        old = [pod.name for pod in self.whole() if pod.revision != wanted]
        if old:
            raise Failed(f"{self.namespace}: {', '.join(old)} is still outdated: was something applied meanwhile?")
        print(f"{self.namespace}: up to date")

    def status(self) -> None:
        wanted = self.revision()
        for pod in self.pods():
            print(f"{self.namespace}: {pod.name} {pod.state()}{'' if pod.revision == wanted else ', outdated'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["status", "update", "hand-over"])
    parser.add_argument("namespaces", nargs="+", metavar="NAMESPACE")
    parser.add_argument("--patience", type=float, default=900, metavar="SECONDS", help="how long a unit may take to be whole again (default: 900)")
    given = parser.parse_args()
    try:
        for namespace in given.namespaces:
            getattr(Unit(namespace, given.patience), given.command.replace("-", "_"))()
    except Failed as failed:
        print(f"rollout.py: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
