#!/usr/bin/env python3
"""Writes Grafana's dashboards from what stands here: `python3 deploy/observability/dashboards.py`. A test compares them with the files."""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "dashboards"


def panel(title, *queries, unit="short", kind="timeseries", help=""):
    """A panel: each query is PromQL, and the legend of its lines."""
    return {"title": title, "queries": queries, "unit": unit, "kind": kind, "help": help}


def quantile(metric, by, share=0.99):
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket[5m])))"


DASHBOARDS = {
    "election": [
        panel("Votes", ("max(tallyroot_results_votes)", "votes"), kind="stat"),
        panel("Votes a second", ('sum(rate(tallyroot_log_submissions_total{log=~"cells/.*",outcome="final"}[1m]))', "all cells"), ('sum by (log) (rate(tallyroot_log_submissions_total{log=~"cells/.*",outcome="final"}[1m]))', "{{log}}")),
        panel("Credentials issued a second", ('sum(rate(tallyroot_log_submissions_total{log=~"registrars/.*",outcome="final"}[1m]))', "all registrars")),
        panel("Who serves", ("tallyroot_process * on (instance) group_left () tallyroot_ready", "{{role}} {{instance}}"), help="1: active. A standby is at 0."),
        panel("Requests a second", ("sum by (route, status) (rate(tallyroot_http_requests_total[1m]))", "{{status}} {{route}}")),
        panel("Time to the answer, 99th percentile", (quantile("tallyroot_http_request_seconds", "route"), "{{route}}"), unit="s"),
        panel("Refused, by code", ("sum by (code) (rate(tallyroot_refusals_total[1m]))", "{{code}}")),
        panel("In flight", ("tallyroot_http_requests_in_flight", "{{instance}}")),
        panel("TLS handshakes a second, and when certificates expire", ("sum by (instance, outcome) (rate(tallyroot_tls_handshakes_total[5m]))", "{{outcome}} {{instance}}"), ("(tallyroot_tls_certificate_not_after_timestamp_seconds - time()) / 86400", "days left {{instance}}")),
        panel("Age of the newest head", ("time() - max(tallyroot_schedule_head_timestamp_seconds)", "head"), ("time() - tallyroot_schedule_checked_timestamp_seconds", "followed by {{instance}}"), unit="s"),
        panel("Results", ("rate(tallyroot_results_written_total[5m])", "{{outcome}}"), ("tallyroot_results_cell_stale == 1", "cell {{cell}} stale")),
    ],
    "logs": [
        panel("State", ("tallyroot_log_state == 1", "{{log}} {{state}} {{instance}}")),
        panel("Queue", ("tallyroot_log_queued", "{{log}}")),
        panel("Entries a second", ("rate(tallyroot_log_entries_total[1m])", "{{log}}")),
        panel("Batches a second", ("rate(tallyroot_log_batches_total[1m])", "{{log}}")),
        panel("Commit and durability gate, 99th percentile", (quantile('tallyroot_log_step_seconds', "log, step").replace("_bucket[", '_bucket{step="commit"}['), "{{log}}"), unit="s"),
        panel("Fence (batches/<n>), 99th percentile", (quantile('tallyroot_log_step_seconds', "log, step").replace("_bucket[", '_bucket{step="fence"}['), "{{log}}"), unit="s"),
        panel("Finish (signature, tiles, checkpoint), 99th percentile", (quantile('tallyroot_log_step_seconds', "log, step").replace("_bucket[", '_bucket{step="finish"}['), "{{log}}"), unit="s"),
        panel("Signatures by log keys", ("sum by (instance, outcome) (rate(tallyroot_signatures_total[1m]))", "{{outcome}} {{instance}}")),
        panel("Time to a signature, 99th percentile", (quantile("tallyroot_signature_seconds", "instance"), "{{instance}}"), unit="s"),
        panel("Requests to KMS and S3 a second", ("sum by (service, operation, outcome) (rate(tallyroot_aws_requests_total[1m]))", "{{service}} {{operation}} {{outcome}}")),
        panel("Time to KMS's and S3's answer, 99th percentile", (quantile("tallyroot_aws_request_seconds", "service, operation"), "{{service}} {{operation}}"), unit="s"),
        panel("Tried again", ("sum by (instance, what) (rate(tallyroot_log_retries_total[5m]))", "{{what}} {{instance}}")),
        panel("Submissions by outcome", ("sum by (log, outcome) (rate(tallyroot_log_submissions_total[1m]))", "{{log}} {{outcome}}")),
        panel("Takeovers and ends", ("increase(tallyroot_log_takeovers_total[10m])", "{{log}} taken over"), ("increase(tallyroot_log_terms_ended_total[10m])", "{{log}} {{why}}"), ("increase(tallyroot_log_put_aside_total[10m])", "{{log}} put aside")),
        panel("Published size", ("tallyroot_log_size", "{{log}}")),
        panel("Blind signatures", ("rate(tallyroot_blind_signatures_total[1m])", "{{outcome}} {{instance}}")),
        panel("Time to a blind signature, 99th percentile", (quantile("tallyroot_blind_signature_seconds", "instance"), "{{instance}}"), unit="s"),
    ],
    "anchoring": [
        panel("Heads log: published, anchored, cosigned", ('max(tallyroot_log_size{log="heads"})', "published"), ("max(tallyroot_anchored_size)", "in every anchor"), ("max(tallyroot_cosigned_size)", "cosigned by the quorum")),
        panel("Each anchor", ("tallyroot_anchor_size", "{{anchor}}")),
        panel("Anchors late", ("tallyroot_anchor_late", "{{anchor}}")),
        panel("Objects and failures", ("increase(tallyroot_anchor_objects_total[5m])", "{{anchor}} objects"), ("increase(tallyroot_anchor_failures_total[5m])", "{{anchor}} failures")),
        panel("Logs that heads repeat", ("tallyroot_heads_log_stale == 1", "{{log}}")),
        panel("Witnesses", ("tallyroot_witness_size", "{{witness}}")),
        panel("Witnesses that do not cosign", ("tallyroot_witness_wrong == 1", "{{witness}}")),
        panel("Who follows the heads log", ("tallyroot_schedule_current", "{{instance}}"), ("tallyroot_schedule_heads_size", "{{instance}} size")),
    ],
}


def chosen(query):
    """The same of the elections that are chosen above; of those that have no label, where there is but one."""
    of = 'election=~"$election"'
    return re.sub(r"\b(tallyroot_\w+)(?:\{([^}]*)\})?", lambda it: f"{it[1]}{{{of},{it[2]}}}" if it[2] else f"{it[1]}{{{of}}}", query)


def dashboard(name, panels):
    """As Grafana imports it (schema 39): two columns, panels in their order."""
    datasource = {"type": "prometheus", "uid": "${datasource}"}
    made = []
    for n, it in enumerate(panels):
        targets = [
            {"datasource": datasource, "expr": chosen(expr), "legendFormat": legend, "refId": chr(ord("A") + k)}
            for k, (expr, legend) in enumerate(it["queries"])
        ]
        made.append(
            {
                "id": n + 1,
                "title": it["title"],
                "description": it["help"],
                "type": it["kind"],
                "datasource": datasource,
                "fieldConfig": {"defaults": {"unit": it["unit"], "min": 0}, "overrides": []},
                "gridPos": {"h": 8, "w": 12, "x": 12 * (n % 2), "y": 8 * (n // 2)},
                "targets": targets,
            }
        )
    return {
        "title": f"Tallyroot: {name}",
        "uid": f"tallyroot-{name}",
        "schemaVersion": 39,
        "tags": ["tallyroot"],
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {"name": "election", "type": "query", "datasource": datasource, "query": "label_values(tallyroot_process, election)", "refresh": 2, "includeAll": True, "allValue": ".*"},
            ]
        },
        "panels": made,
    }


def files():
    """Every dashboard's file and its text."""
    for name, panels in DASHBOARDS.items():
        yield FOLDER / f"{name}.json", json.dumps(dashboard(name, panels), indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in files():
        file.write_text(text)
