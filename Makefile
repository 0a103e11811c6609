# `make demo` and `make test` do all their own set-up. `make help` lists the rest.
SHELL := bash
.DEFAULT_GOAL := help

replay: ## the real election of Minneapolis 2013 in five set-ups, in optimized builds (about half an hour)
	@scripts/setup.sh test
	cargo build --release --locked --workspace
	cargo test --release --locked -p tests --test minneapolis -- --include-ignored --test-threads 1

mutations: ## N=10000 mutated trees, harmed or signed anew, audited with what was kept: none may pass
	@scripts/setup.sh test
	cargo build --release --locked --workspace
	TALLYROOT_MUTATIONS=$(or $(N),10000) cargo test --release --locked --workspace --test attacks mutations -- --nocapture

web: ## the verifier in TypeScript on all vectors; the pages, built anew (web/app/dist) and run in a browser
	@scripts/setup.sh test
	npm --prefix web/verifier test
	npm --prefix web/app run build
	cargo build --locked --workspace --bin tallyroot --bin tallyroot-verify
	npm --prefix web/app test

fuzz: ## T=entries MINUTES=30, one fuzz target (fuzz/README.md lists them); needs a nightly toolchain
	@scripts/fuzz.sh "$(T)" "$(or $(MINUTES),30)"

# The tests that must notice: a crate's own, without those that ask the verifier in Python (it is not in the copies that mutants are made in).
MUTANT_TESTS_protocol = --lib --test crypto --test formats --test merkle --test notes
MUTANT_TESTS_verifier-cli = --lib --test it -- --skip differential::

mutants: ## SHARD=0/100 of the mutants of CRATE=protocol (or verifier-cli): the code broken in one place at a time (tests/mutants.md)
	@scripts/setup.sh test
	@PATH="$$PWD/.tools/bin:$$PATH"; command -v cargo-mutants >/dev/null || cargo install --locked --version 27.1.0 --root .tools cargo-mutants
	mkdir -p target/mutants
	PATH="$$PWD/.tools/bin:$$PATH" CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-$$PWD/target/mutants}" \
	    cargo mutants -p $(or $(CRATE),protocol) --shard $(or $(SHARD),0/1) -o target/mutants -- $(MUTANT_TESTS_$(or $(CRATE),protocol))

mutants-typescript: ## PART=0/20 of the mutants of the verifier in TypeScript (tests/mutants-typescript.md)
	@scripts/setup.sh test
	npm --prefix web/verifier run build
	node scripts/mutants_typescript.mjs target/mutants-typescript $(or $(PART),0/1)

bench-web: ## how fast the results page is on a slow profile, what updates cost it, and an hour open; some ten minutes
	@scripts/setup.sh test
	cargo build --release --locked -p tallyroot -p verifier-cli
	cd web/app && TALLYROOT=../../target/release/tallyroot node scripts/bench.mjs $(ONLY)

.PHONY: bench-web mutants mutants-typescript help web fuzz demo replay mutations test lint deny deny-advisories build differential

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: ## build, and run a whole election on this machine; stays up until Ctrl-C
	@scripts/setup.sh build
	cargo build --release --locked -p tallyroot -p verifier-cli
	./target/release/tallyroot demo --witnesses 3

build: ## both binaries, optimized, in target/release
	@scripts/setup.sh build
	cargo build --release --locked -p tallyroot -p verifier-cli

test: ## everything that must pass; installs what it lacks
	@scripts/test.sh

lint: ## formatting, clippy, licences
	@scripts/setup.sh test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(MAKE) deny

differential: ## the verifiers in Rust and Python on 10,000 changed inputs, on 1,000 more of the day's seed, and on 500 changed trees; then TypeScript and Python
	@scripts/setup.sh test
	TALLYROOT_MUTANTS=10000 cargo test --workspace --test differential -- --nocapture
	TALLYROOT_SEED=$$(date +%Y%m%d) cargo test --workspace --test differential -- --nocapture
	TALLYROOT_SEED=$$(date +%Y%m%d) TALLYROOT_TREES=500 cargo test --workspace --test it -- differential:: --nocapture
	SEED=$$(date +%Y%m%d) npm --prefix web/verifier run differential

deny: ## licences, bans and sources of all dependencies
	@scripts/setup.sh test
	PATH="$$PWD/.tools/bin:$$PATH" cargo deny --locked check bans licenses sources

deny-advisories: ## known vulnerabilities (needs a network that reaches the RustSec database)
	@scripts/setup.sh test
	PATH="$$PWD/.tools/bin:$$PATH" cargo deny check advisories
