"""What the build file promises, each promise seen to fail when it is broken. Nothing is built: there is no container runtime here."""

import pathlib
import re
import tomllib
import unittest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
FILE = (HERE / "Containerfile").read_text()
IMAGES = {"tallyroot": "tallyroot", "tallyroot-verify": "tallyroot-verify", "tallyroot-secrets": "install"}
# Programs of the workspace, from which package.
PROGRAMS = {"tallyroot": "tallyroot", "tallyroot-verify": "verifier-cli"}


def stages(text):
    """Every stage: its name, its base with the arguments filled in, its instructions."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    arguments, found = {}, []
    for word, rest in lines:
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append((name, re.sub(r"\$\{(\w+)\}", lambda it: arguments[it.group(1)], base), []))
        else:
            found[-1][2].append((word, rest))
    return found


def broken(text, ignored=(HERE / "Containerfile.dockerignore").read_text()):
    found = set()
    all_stages = {name: (base, steps) for name, base, steps in stages(text)}
    for name, (base, _) in all_stages.items():
        tag = base.rpartition(":")[2] if ":" in base else ""
        if base != "scratch" and not re.search(r"@sha256:[0-9a-f]{64}$", base) and not re.search(r"\d|^nonroot$", tag):
            found.add("pinned")
    for name, program in IMAGES.items():
        base, steps = all_stages[name]
        words = [word for word, _ in steps]
        given = dict(steps)
        if given.get("USER") != "65532:65532":
            found.add("user")
        if base != "scratch" and not re.match(r"gcr\.io/distroless/cc-debian\d+:nonroot(@|$)", base) or "RUN" in words:
            found.add("shell")
        if given.get("ENTRYPOINT") != f'["/{program}"]':
            found.add("entry")
        copied = [rest for word, rest in steps if word == "COPY"]
        if len(copied) != 1 or not copied[0].startswith("--from=") or "ADD" in words:
            found.add("small")
        elif name in PROGRAMS and copied != [f"--from=build /build/target/release/{name} /{name}"]:
            found.add("program")
    build = all_stages["build"][1]
    sources = [source for word, rest in build if word == "COPY" for source in rest.split()[:-1]]
    for source in sources:
        if not (ROOT / source).exists() or f"!{source.rstrip('/')}" not in ignored.splitlines():
            found.add("sources")
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    if not all(any(f"{member}/".startswith(source) for source in sources) for member in members):
        found.add("sources")
    command = next(rest for word, rest in build if word == "RUN" and "cargo" in rest)
    if "--locked" not in command or not all(f"-p {package}" in command for package in PROGRAMS.values()):
        found.add("locked")
    if ignored.splitlines()[1] != "*":
        found.add("ignored")
    version = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    if f"rust:{version}-" not in all_stages["build"][0]:
        found.add("toolchain")
    return found


class Container(unittest.TestCase):
    def test_promises(self):
        self.assertEqual(broken(FILE), set())

    def test_what_is_compiled_in_is_copied(self):
        """Files outside of a package that its source names."""
        sources = [source for name, _, steps in stages(FILE) if name == "build" for word, rest in steps if word == "COPY" for source in rest.split()[:-1]]
        for path in ROOT.glob("*/src/**/*.rs"):
            if path.is_relative_to(ROOT / "tests"):
                continue
            for up in re.findall(r'include_(?:str|bytes)!\((?:concat!\()?"((?:\.\./)+[^"]*)"', path.read_text()):
                named = (path.parent / up).resolve().relative_to(ROOT)
                with self.subTest(str(path)):
                    self.assertTrue(any(f"{named}/".startswith(source) or str(named) == source for source in sources), named)

    def test_each_promise_fails_when_broken(self):
        for old, new, promise in (
                ("rust:1.95.0-slim-bookworm", "rust:latest", {"pinned", "toolchain"}),
                ("busybox:1.37.0-musl", "busybox", {"pinned"}),
                ("rust:1.95.0-", "rust:1.94.0-", {"toolchain"}),
                ('USER 65532:65532\nENTRYPOINT ["/tallyroot"]', 'USER 0\nENTRYPOINT ["/tallyroot"]', {"user"}),
                ('USER 65532:65532\nENTRYPOINT ["/tallyroot-verify"]', 'ENTRYPOINT ["/tallyroot-verify"]', {"user"}),
                ("cc-debian12:nonroot", "cc-debian12:debug-12", {"shell"}),
                ('ENTRYPOINT ["/tallyroot"]', "ENTRYPOINT /tallyroot", {"entry"}),
                ("release/tallyroot /tallyroot", "release/tallyrot /tallyroot", {"program"}),
                ("FROM scratch", "FROM ${BUSYBOX}", {"shell"}),
                ("COPY ledger/ ledger/\n", "", {"sources"}),
                ("COPY ledger/ ledger/", "COPY ledgers/ ledger/", {"sources"}),
                ("--locked", "", {"locked"})):
            with self.subTest(new):
                self.assertIn(old, FILE)
                self.assertEqual(broken(FILE.replace(old, new)), promise)
        self.assertEqual(broken(FILE, "#\n!ledger\n"), {"sources", "ignored"})


if __name__ == "__main__":
    unittest.main()
