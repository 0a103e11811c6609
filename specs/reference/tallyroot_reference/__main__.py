"""`python3 -m tallyroot_reference audit|receipt|split-view|dispute|vectors …`: exit code 0 verified, 1 findings, 2 could not check."""
from __future__ import annotations

import argparse
import json
import re
import sys
import traceback
from pathlib import Path

from . import evidence, receipts, vectors
from .audit import audit
from .errors import CannotCheck, Invalid


def _election(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError("an election id is 64 lowercase hexadecimal digits")
    return bytes.fromhex(text)


def _audit(args: argparse.Namespace) -> int:
    a = audit(args.directory, args.election, args.receipt)
    verdict = a.verdict()
    if args.json:
        print(json.dumps(verdict, ensure_ascii=True, sort_keys=True, indent=1))
    else:
        for finding in a.findings:
            print(finding.line())
        for note in a.notes:
            print(f"note: {note}")
        covered = verdict["covered"]
        assert isinstance(covered, dict)
        print(f"{'verified' if not a.findings else 'FINDINGS'}: state {a.state}, {covered['votes']} votes, {covered['heads']} heads, "
              f"{covered['files']} files")
        # "the bound that it cannot exclude" (section 16)
        if verdict["bound"] is not None:
            print(f"cannot exclude: {verdict['bound']} votes by credentials that every registrar issued and no voter used")
    return 1 if a.findings else 0


def _file(args: argparse.Namespace) -> int:
    """What one file shows by itself."""
    try:
        with args.file.open("rb") as handle:
            data = handle.read(args.limit + 1)
    except OSError as error:
        raise CannotCheck(f"{args.file.name}: {error.strerror}") from None
    try:
        verdict = args.judge(data, args.election)
    except Invalid as error:
        print(json.dumps({"error": error.code, "evidence": error.text, "valid": False}))
        return int(args.refused)
    print(json.dumps({"valid": True, "verdict": verdict}, indent=1))
    return int(args.exit_code(verdict))


def _vectors(args: argparse.Namespace) -> int:
    wrong = 0
    for name, (number, cases) in vectors.run(args.directory).items():
        print(f"{name}.json: {number} cases, {len(cases)} answered otherwise")
        for case in cases:
            print(f"  {case}")
        wrong += len(cases)
    return 1 if wrong else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tallyroot_reference", description=__doc__)
    commands = parser.add_subparsers(required=True)
    p = commands.add_parser("audit", help="audit a published election")
    p.add_argument("directory", type=Path, help="the election's folder, or one that has it below elections/")
    p.add_argument("--election", type=_election, required=True)
    p.add_argument("--receipt", type=Path, action="append", help="a voter's receipt to hold against the logs; may be repeated")
    p.add_argument("--json", action="store_true")
    p.set_defaults(run=_audit)
    # A receipt that does not verify is a finding; evidence that proves nothing speaks against nobody (section 17).
    for name, words, limit, judge, refused, exit_code in (
            ("receipt", "check a voter's receipt", receipts.MAX_RECEIPT, receipts.verify, 1, lambda verdict: 0),
            ("split-view", "judge a file that says that a log's keys signed two histories", evidence.MAX_SPLIT_VIEW, evidence.split_view, 2,
             evidence.exit_code),
            ("dispute", "rule on a receipt and what the ledger shows of it", evidence.MAX_DISPUTE, evidence.dispute, 2, evidence.exit_code)):
        p = commands.add_parser(name, help=words)
        p.add_argument("file", type=Path)
        p.add_argument("--election", type=_election, required=True)
        p.set_defaults(run=_file, limit=limit, judge=judge, refused=refused, exit_code=exit_code)
    p = commands.add_parser("vectors", help="run the specification's vectors")
    p.add_argument("directory", type=Path)
    p.set_defaults(run=_vectors)
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return int(args.run(args))
    except CannotCheck as error:
        print(f"could not check: {error}", file=sys.stderr)
        return 2
    except Exception:  # noqa: BLE001 - Python ends with 1, which would be findings; a fault of ours says nothing about the election
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
