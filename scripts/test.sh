#!/usr/bin/env bash
# The whole test suite: set-up, formatting, lints, licences, then every crate's tests and the whole-system tests.
# Prints the seconds that each suite took. Any failure fails the run, after the other suites have run.
set -uo pipefail
cd "$(dirname "$0")/.."
# What incremental builds keep is for the next build; a checkout that is built once only pays for it.
[ "${CI:-}" = true ] && export CARGO_INCREMENTAL=0
failed=0
report=()

suite() { # suite NAME COMMAND…
    local name=$1 start=$SECONDS code=0
    shift
    printf '\n=== %s\n' "$name"
    "$@" || code=$?
    report+=("$(printf '%5ds  %-9s %s' $((SECONDS - start)) "$([ $code = 0 ] && echo passed || echo FAILED)" "$name")")
    [ $code = 0 ] || failed=$((failed + 1))
}

suite "set-up" scripts/setup.sh test || exit 1
export PATH="$PWD/.tools/bin:$PATH"
suite "formatting" cargo fmt --all --check
suite "licences and sources" cargo deny --locked check bans licenses sources
suite "verifier in TypeScript" npm --prefix web/verifier test
suite "alerts and dashboards" python -m unittest discover -s deploy/observability -t deploy/observability
suite "templates for AWS" python -m unittest discover -s deploy/aws -t deploy/aws
suite "build file of the images" python -m unittest discover -s deploy/container -t deploy/container
suite "the pages come from their source" npm --prefix web/app run --silent reproduce
suite "clippy" cargo clippy --workspace --all-targets --locked -- -D warnings
# One selection of packages for building and testing: another one would resolve other features, and build everything again.
suite "build" cargo build --workspace --all-targets --locked
suite "manifests for Kubernetes" python -m unittest discover -s deploy/kubernetes -t deploy/kubernetes
suite "the pages in a browser" npm --prefix web/app test
log=$(mktemp)
trap 'rm -f "$log"' EXIT
suite "tests, of which:" python3 scripts/run_tests.py "$log"
while IFS=$'\t' read -r seconds outcome program; do
    report+=("$(printf '%5ds  %-9s    %s' "$seconds" "$outcome" "$program")")
done <"$log"

printf '\n=== seconds for each suite\n'
printf '%s\n' "${report[@]}"
[ $failed = 0 ] && exit 0
printf '%d of %d suites failed\n' "$failed" "${#report[@]}"
exit 1
