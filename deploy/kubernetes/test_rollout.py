"""rollout.py against a Kubernetes that a script plays: no cluster runs here. It keeps two pods, lets the older standby take over when the active one goes, and answers /status."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent

KUBECTL = r'''
import fcntl, json, pathlib, sys
folder = pathlib.Path(FOLDER)
verb, _, namespace, *rest = sys.argv[1:]
with open(folder / "lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = folder / f"{namespace}.json"
    world = json.loads(path.read_text())
    world["calls"].append([verb, *rest])
    if verb == "get" and rest[0].startswith("statefulset"):
        # The controller has seen what was applied at the second look.
        answer = {"metadata": {"generation": 2}, "status": {"observedGeneration": 1 + min(1, sum(call[1].startswith("statefulset") for call in world["calls"]) - 1), "updateRevision": world["revision"]}}
    elif verb == "get":
        answer = {"items": [{
            "metadata": {"name": pod["name"], "uid": pod["uid"], "labels": {"controller-revision-hash": pod["revision"]}},
            "status": {"conditions": [{"type": "Ready", "status": str(pod["state"] == "active")}], "containerStatuses": [{"started": pod["state"] != "starting"}]}}
            for pod in world["pods"]]}
        for pod in world["pods"]:
            # What was made comes up after a look.
            if pod["state"] == "starting" and not world.get("stays_down"):
                pod["state"] = "standby" if any(it["state"] == "active" for it in world["pods"]) else "active"
    elif verb == "delete":
        name = rest[0].removeprefix("pod/")
        [pod] = [it for it in world["pods"] if it["name"] == name]
        was = pod["state"]
        world["made"] += 1
        pod.update(uid=f"made-{world['made']}", revision=world["revision"], state="starting")
        if was == "active":
            [other] = [it for it in world["pods"] if it is not pod]
            other["state"] = "active"
        answer = None
    elif verb == "port-forward":
        [pod] = [it for it in world["pods"] if f"pod/{it['name']}" == rest[0]]
        answer = None
    path.write_text(json.dumps(world))
if answer is not None:
    print(json.dumps(answer))
if verb == "port-forward":
    import http.server
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"state": pod["state"]}).encode()
            self.send_response(200 if self.path == "/status" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_): pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Health)
    print(f"Forwarding from 127.0.0.1:{server.server_port} -> 7101", flush=True)
    server.serve_forever()
'''


class Rollout(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.kubectl = self.folder / "kubectl"
        self.kubectl.write_text(f"#!{sys.executable} -SE\n{KUBECTL.replace('FOLDER', repr(str(self.folder)))}")
        self.kubectl.chmod(0o700)

    def world(self, namespace, states=("active", "standby"), revision="new", **more):
        pods = [{"name": f"service-{n}", "uid": f"old-{n}", "revision": "old", "state": state} for n, state in enumerate(states)]
        (self.folder / f"{namespace}.json").write_text(json.dumps({"pods": pods, "revision": revision, "made": 0, "calls": [], **more}))

    def run_it(self, *arguments):
        environment = {**os.environ, "KUBECTL": str(self.kubectl), "ROLLOUT_LOOK_S": "0.01"}
        command = [sys.executable, str(HERE / "rollout.py"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def after(self, namespace):
        return json.loads((self.folder / f"{namespace}.json").read_text())

    def deleted(self, namespace):
        return [call[1] for call in self.after(namespace)["calls"] if call[0] == "delete"]

    def test_the_standby_goes_first_then_its_turn_then_the_other(self):
        self.world("vote-cell-0")
        self.world("vote-cell-1", states=("standby", "active"))
        ran = self.run_it("update", "vote-cell-0", "vote-cell-1")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(self.deleted("vote-cell-0"), ["pod/service-1", "pod/service-0"])
        self.assertEqual(self.deleted("vote-cell-1"), ["pod/service-0", "pod/service-1"])
        for namespace in ("vote-cell-0", "vote-cell-1"):
            self.assertEqual([pod["revision"] for pod in self.after(namespace)["pods"]], ["new", "new"])

    def test_what_is_up_to_date_is_left_alone(self):
        self.world("vote-cell-0", revision="old")
        ran = self.run_it("update", "vote-cell-0")
        self.assertEqual((ran.returncode, self.deleted("vote-cell-0")), (0, []), ran.stderr)

    def test_a_standby_that_does_not_come_back_ends_it_before_the_active_one_is_touched(self):
        self.world("vote-cell-0", stays_down=True)
        self.world("vote-cell-1")
        ran = self.run_it("update", "--patience", "0.5", "vote-cell-0", "vote-cell-1")
        self.assertEqual(ran.returncode, 1)
        self.assertIn("vote-cell-0: no active process with a standby", ran.stderr)
        self.assertEqual((self.deleted("vote-cell-0"), self.deleted("vote-cell-1")), (["pod/service-1"], []))

    def test_nothing_is_replaced_in_a_unit_without_a_standby(self):
        for states in (("active", "taking-over"), ("standby", "standby"), ("halted", "standby")):
            self.world("vote-cell-0", states=states)
            for command in ("update", "hand-over"):
                ran = self.run_it(command, "vote-cell-0")
                self.assertEqual((ran.returncode, self.deleted("vote-cell-0")), (1, []))
                self.assertIn("is not whole", ran.stderr)

    def test_a_hand_over_replaces_the_active_one_alone(self):
        self.world("vote-cell-0", states=("standby", "active"), revision="old")
        ran = self.run_it("hand-over", "vote-cell-0")
        self.assertEqual((ran.returncode, self.deleted("vote-cell-0")), (0, ["pod/service-1"]), ran.stderr)
        self.assertIn("service-0 serves", ran.stdout)

    def test_status_says_what_is_outdated(self):
        self.world("vote-cell-0")
        ran = self.run_it("status", "vote-cell-0")
        self.assertEqual(ran.stdout, "vote-cell-0: service-0 active, outdated\nvote-cell-0: service-1 standby, outdated\n")
        self.assertEqual(self.deleted("vote-cell-0"), [])


if __name__ == "__main__":
    unittest.main()
