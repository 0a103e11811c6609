#!/usr/bin/env bash
# Fuzzes one target: scripts/fuzz.sh TARGET [MINUTES]. Findings go to fuzz/artifacts/, new inputs to fuzz/corpus/ (see fuzz/README.md).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-} minutes=${2:-30}
if ! [ -f "fuzz/fuzz_targets/$target.rs" ]; then
    echo "fuzz: name a target, such as make fuzz T=entries: $(cd fuzz/fuzz_targets && ls | sed 's/\.rs$//' | tr '\n' ' ')" >&2
    exit 1
fi
if ! rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    echo "fuzz: there is no nightly toolchain, and sanitizers need one: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
PATH="$PWD/.tools/bin:$PATH"
command -v cargo-fuzz >/dev/null || cargo install --locked --version 0.13.2 --root .tools cargo-fuzz
TALLYROOT_WRITE_SEEDS="$PWD/fuzz/seeds" cargo test -q --workspace --locked --test kept -- "$target"
# The versions that the programs are built with, and libfuzzer-sys.
cp Cargo.lock fuzz/Cargo.lock
# 4 GB and 30 seconds are more than any input of these sizes may take.
cd fuzz
exec cargo +nightly fuzz run "$target" "corpus/$target" "seeds/$target" -- -rss_limit_mb=4096 -timeout=30 -max_total_time=$((minutes * 60)) -print_final_stats=1
