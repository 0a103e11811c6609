"""Processes that outlive the script which starts them, and the files that they are told of."""

from __future__ import annotations

import contextlib
import os
import pathlib
import ssl
import subprocess
import urllib.error
import urllib.request

HOST = "127.0.0.1"
PATIENCE_S = 120
LOOK_S = 0.05


class Failed(Exception):
    """Something that the user can read and do something about."""


def spawn(command: list, log: pathlib.Path, **options) -> int:
    """Starts a process that outlives this one."""
    with log.open("ab") as sink:
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                                   cwd="/", start_new_session=True, **options)
    return process.pid


def run(command: list, **options) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False, cwd="/", **options)
    if done.returncode:
        words = done.stderr if isinstance(done.stderr, str) else done.stderr.decode(errors="replace")
        raise Failed(f"{pathlib.Path(str(command[0])).name} failed:\n{words}")


def start_time(pid: int) -> str | None:
    """When the process began, in the kernel's ticks; None when there is none, or it has ended and nobody has looked yet."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def write_private(path: pathlib.Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    beside.replace(path)


def answer(url: str, trusts: pathlib.Path | None = None) -> int | None:
    context = ssl.create_default_context(cafile=trusts) if trusts else None
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def tail(log: pathlib.Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    except OSError:
        return "(it wrote nothing)"
