#!/usr/bin/env python3
"""What an election costs on these templates, by list prices that are assumptions: python deploy/aws/cost.py (the tables of specs/operations.md).

Prices are those of us-east-1 as remembered in 2025, in US dollars, without discounts, taxes and support: nobody has looked them up for this page, and no bill was
ever seen. What they are multiplied with is stated too, so that both can be corrected.
"""

import math
from types import SimpleNamespace

PRICES = {
    "cell_node": (0.8064, "a node of the cells (m7i.4xlarge), an hour"), "other_node": (0.2016, "another node (m7i.xlarge), an hour"), "cluster": (0.10, "EKS, an hour"),
    "balancer": (0.05, "a load balancer in use, an hour"), "nat": (0.045, "a NAT, an hour"), "endpoint": (0.01, "an endpoint in a zone, an hour"),
    "disk": (0.08, "gp3, a GB and month"), "key": (1.00, "a key in KMS, a month"), "signature": (0.15 / 10_000, "a signature"), "put": (0.005 / 1_000, "a PUT to S3"),
    "get": (0.0004 / 1_000, "a GET from S3"), "stored": (0.023, "S3, a GB and month"), "request": (0.01 / 10_000, "a request to CloudFront"), "sent": (0.085, "CloudFront, a GB"),
    "inspected": (0.60 / 1e6, "a request through WAF"), "rules": (8.00, "WAF's rules, a month"),
}
ASSUMED = {
    "cell_cores": (11, "processors that a cell asks for"), "node_cores": (15, "of a node's 16 processors, those that pods get"), "batch_s": (2, "seconds between batches of a cell"),
    "casting_days": (8, "days of casting"), "batch_puts": (8, "objects written for a batch"), "batch_gets": (2, "objects read for a batch"), "head_s": (10, "seconds between heads"),
    "head_puts": (12, "objects written for a head, with those of two anchors"), "vote_bytes": (1_200, "bytes published for a vote, old versions among them"),
    "kept_months": (12, "months for which files are kept here"), "voter_requests": (40, "requests of a voter"), "voter_kb": (400, "kilobytes that a voter fetches"), "log_gb": (360, "GB of volumes for a log"),
}
P = SimpleNamespace(**{name: value for name, (value, _) in PRICES.items()})
A = SimpleNamespace(**{name: value for name, (value, _) in ASSUMED.items()})


def cost(cells, registrars, voters, weeks):
    """Dollars by what they are for."""
    hours, months, logs = weeks * 7 * 24, math.ceil(weeks * 7 / 30), cells + registrars + 1
    cell_nodes = 3 * max(1, math.ceil(cells * A.cell_cores / A.node_cores / 3))
    batches, heads, requests = cells * A.casting_days * 86_400 / A.batch_s, weeks * 7 * 86_400 / A.head_s, voters * A.voter_requests
    return {
        "nodes of the cells": cell_nodes * hours * P.cell_node,
        "other nodes, EKS, three load balancers": hours * (3 * (registrars + 1) * P.other_node + P.cluster + 3 * P.balancer),
        "three NATs, nine endpoints in three zones": hours * (3 * P.nat + 27 * P.endpoint),
        "volumes of the databases": logs * A.log_gb * months * P.disk,
        "keys in KMS: two a log, two of the authority, one a registrar, five of stores, two of the watch": (2 * (logs + 1) + registrars + 7) * months * P.key,
        "signatures": (batches + heads) * P.signature,
        "S3: requests": (batches * A.batch_puts + heads * A.head_puts) * P.put + batches * A.batch_gets * P.get,
        "S3: what is published, kept": voters * A.vote_bytes / 1e9 * P.stored * A.kept_months,
        "CloudFront": requests * P.request + voters * A.voter_kb / 1e6 * P.sent,
        "WAF": requests * P.inspected + months * P.rules,
    }


ELECTIONS = {"1 M voters, 2 cells, 1 registrar, 4 weeks": (2, 1, 1_000_000, 4), "300 M voters, 32 cells, 2 registrars, 4 weeks": (32, 2, 300_000_000, 4)}


def table():
    found = {name: cost(*election) for name, election in ELECTIONS.items()}
    lines = [f"| US dollars, computed | {' | '.join(found)} |", f"| --- |{' ---: |' * len(found)}"]
    for what in next(iter(found.values())):
        lines.append(f"| {what} | {' | '.join(f'{it[what]:,.0f}' for it in found.values())} |")
    lines.append(f"| **sum** | {' | '.join(f'**{sum(it.values()):,.0f}**' for it in found.values())} |")
    return "\n".join(lines)


def assumptions():
    return "Prices: " + "; ".join(f"{what} {value:.10f}".rstrip("0").rstrip(".") for value, what in PRICES.values()) + ".\n" \
        "Quantities: " + "; ".join(f"{what} {value:,}" for value, what in ASSUMED.values()) + "."


if __name__ == "__main__":
    print(table(), assumptions(), sep="\n\n")
