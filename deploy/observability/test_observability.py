"""Alerts and dashboards: what they ask for exists, every alert is tested and explained, and promtool agrees."""

import json
import re
import subprocess
import unittest
from pathlib import Path

import yaml

import dashboards

HERE = Path(__file__).parent
SPECS = HERE.parents[1] / "specs"
RULES = [rule for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
# Prometheus's own, of every target.
OF_PROMETHEUS = {"job", "instance", "le"}
# Where several elections are watched.
OF_PROMETHEUS |= {"election"}


def documented():
    """Every metric of the page, with its kind and its labels."""
    found = {}
    for line in (SPECS / "metrics.md").read_text().splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \|([\w, ]*)\|", line)
        if row:
            name, kind, labels = row.groups()
            found[name] = (kind, {label.strip() for label in labels.split(",") if label.strip()})
        row = re.match(r"- `(tallyroot:\w+)\{([\w, ]*)\}`", line)
        if row:
            found[row[1]] = ("recorded", {label.strip() for label in row[2].split(",")})
    return found


METRICS = documented()


def problems(query):
    """What is wrong with the metrics and labels of a query."""
    wrong = []
    known = set(OF_PROMETHEUS)
    for name, selector in re.findall(r"\b(tallyroot[_:]\w+)(\{[^}]*\})?", query):
        part = re.search(r"_(bucket|sum|count)$", name)
        family = name.removesuffix(part.group()) if part else name
        kind, labels = METRICS.get(family, (None, set()))
        if kind is None:
            wrong.append(f"{name} is no metric")
        if (kind == "histogram") != (part is not None):
            wrong.append(f"{name} is a {kind}")
        known |= labels
        for label in re.findall(r"(\w+)\s*[=!]", selector or ""):
            if label not in labels | OF_PROMETHEUS:
                wrong.append(f"{name} has no label {label}")
    for labels in re.findall(r"\b(?:by|on|group_left)\s*\(([^)]*)\)", query):
        for label in filter(None, (it.strip() for it in labels.split(","))):
            if label not in known:
                wrong.append(f"no metric of the query has a label {label}")
    return wrong


class Observability(unittest.TestCase):
    def test_promtool_passes_the_rules_and_their_tests(self):
        for arguments in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
            ran = subprocess.run(["promtool", *arguments], cwd=HERE, capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_every_alert_is_seen_raised_and_not_raised(self):
        raised, quiet = set(), set()
        for test in yaml.safe_load((HERE / "alerts_test.yaml").read_text())["tests"]:
            for case in test["alert_rule_test"]:
                (raised if case["exp_alerts"] else quiet).add(case["alertname"])
        names = {rule["alert"] for rule in RULES}
        self.assertGreater(len(names), 20)
        self.assertEqual(raised, names)
        self.assertEqual(quiet, names)

    def test_every_alert_has_a_severity_and_its_own_section_of_the_runbook(self):
        sections = set(re.findall(r"^## (\w+)$", (SPECS / "runbook.md").read_text(), re.MULTILINE))
        for rule in RULES:
            self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
            self.assertIn(rule["alert"], sections)
            self.assertEqual(rule["annotations"]["runbook_url"], f"specs/runbook.md#{rule['alert'].lower()}")
        self.assertEqual(sections, {rule["alert"] for rule in RULES})

    def test_every_query_asks_for_metrics_and_labels_that_exist(self):
        for rule in RULES:
            self.assertEqual(problems(rule["expr"]), [], rule["alert"])
        asked = set()
        for name, panels in dashboards.DASHBOARDS.items():
            for panel in panels:
                for query, legend in panel["queries"]:
                    self.assertEqual(problems(query), [], f"{name}: {panel['title']}")
                    asked |= set(re.findall(r"tallyroot_\w+?(?=_bucket|\b)", query))
                    for label in re.findall(r"\{\{(\w+)\}\}", legend):
                        labels = OF_PROMETHEUS.union(*(METRICS[it][1] for it in METRICS if it in query))
                        self.assertIn(label, labels, f"{name}: {panel['title']}")
        alerts = " ".join(rule["expr"] for rule in RULES)
        unseen = {name for name in METRICS if name not in asked and name not in alerts}
        # What is shown as /status, or with another of the same.
        self.assertEqual(unseen, {"tallyroot_log_batches", "tallyroot_log_epoch"})

    def test_a_wrong_query_is_found(self):
        self.assertEqual(problems("rate(tallyroot_nothing_total[1m])")[0], "tallyroot_nothing_total is no metric")
        self.assertIn("has no label voter", problems('tallyroot_log_size{voter="x"}')[0])
        self.assertIn("label voter", problems("sum by (voter) (tallyroot_log_size)")[0])
        self.assertIn("is a histogram", problems("rate(tallyroot_log_step_seconds[1m])")[0])
        self.assertIn("is a gauge", problems("tallyroot_log_size_bucket")[0])

    def test_the_dashboards_are_what_their_program_writes(self):
        written = dict(dashboards.files())
        self.assertEqual(set(written), set((HERE / "dashboards").iterdir()))
        for file, text in written.items():
            self.assertEqual(file.read_text(), text, f"{file.name}: run dashboards.py")
            # Whichever election is chosen, no panel adds another to it.
            for expression in (target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]):
                self.assertEqual(len(re.findall(r"\btallyroot_\w+", expression)), expression.count('{election=~"$election"'), expression)
            ids = [panel["id"] for panel in json.loads(text)["panels"]]
            self.assertEqual(len(ids), len(set(ids)))


if __name__ == "__main__":
    unittest.main()
