# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that would be recognised anywhere, and where to look for them."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import tarfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

#: Seconds between two looks at the processes, and looks at them between two at the containers.
GAP, SELDOM = 0.02, 50


def planted(name: str) -> str:
    """Return a secret with characters that a URL, JSON and base64 write in another way, all of which a DSN carries."""
    return f"{name}~+/%&{secrets.token_hex(8)}"


def forms(secret: str) -> set[bytes]:
    """Return a secret as it may stand in a text: plain, in a URL, in JSON, in hex, in base64 wherever it begins."""
    data = secret.encode()
    found = {data, quote(secret).encode(), quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode()}
    found |= {data.hex().encode(), data.hex().upper().encode()}
    for before in range(3):
        # Without the characters at both ends that hold bits of what is beside the secret.
        text = base64.b64encode(b"\0" * before + data)[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        found |= {text, text.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Search:
    """Looks for secrets.

    :param planted: name -> secret.
    """

    def __init__(self, **planted: str) -> None:
        self.forms = {name: forms(secret) for name, secret in planted.items()}

    def hits(self, place: str, content: str | bytes) -> list[str]:
        """Return what is found in a text, as ``secret in place: around it`` without the secret itself."""
        data = content if isinstance(content, bytes) else content.encode(errors="replace")
        found = []
        for name, written in self.forms.items():
            for form in sorted(form for form in written if form in data):
                where = data.index(form)
                found.append(f"{name} in {place}: {data[max(0, where - 80) : where].decode(errors='replace')!r}")
        return found

    def files(self, directory: Path) -> list[str]:
        """Return what is found in the files below a directory and in the archives among them, by relative names."""
        return [hit for name, content in contents(directory) for hit in self.hits(name, content)]


def contents(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file below a directory, and of every file in an archive there."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        name, data = str(path.relative_to(directory)), path.read_bytes()
        yield name, data
        if ".tar" in path.name:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    if file is not None:
                        yield f"{name}:{member.name}", file.read()


class Watcher(threading.Thread):
    """Looks at every process that begins meanwhile, and at containers, until it is told to stop.

    A process is looked at again when its arguments are others: then it executes something else.

    :param search: what to look for.
    :param containers: names of containers.
    """

    def __init__(self, search: Search, containers: Iterable[str]) -> None:
        super().__init__(daemon=True)
        self.search = search
        self.containers = list(containers)
        self.found: set[str] = set()
        self.processes: set[str] = set()
        self._before = set(os.listdir("/proc"))
        self._known: set[tuple[str, bytes]] = set()
        self.inspected = 0
        self._end = threading.Event()

    def run(self) -> None:
        """Look."""
        looks = 0
        while not self._end.wait(GAP):
            self.look_at_processes()
            looks += 1
            if looks % SELDOM == 0:
                self.ask("inspect", *self.containers)

    def look_at_processes(self) -> None:
        """Look at arguments and environment of what runs now and did not in the beginning."""
        for entry in set(os.listdir("/proc")) - self._before:
            try:
                argv = Path("/proc", entry, "cmdline").read_bytes()
                if (entry, argv) in self._known:
                    continue
                environment = Path("/proc", entry, "environ").read_bytes()
            except OSError:  # it has ended
                continue
            self._known.add((entry, argv))
            shown = argv.replace(b"\0", b" ").decode(errors="replace")[:200]
            self.processes.add(shown)
            self.found.update(self.search.hits(f"arguments of {shown.split(' ')[0]}", argv))
            self.found.update(self.search.hits(f"environment of {shown}", environment))

    def ask(self, *question: str) -> None:
        """Look at what podman says; of containers that are not there, or no longer, it says nothing."""
        done = subprocess.run(["podman", *question], capture_output=True, check=False)
        self.inspected += done.stdout.count(b'"HostConfig": {')
        self.found.update(self.search.hits(f"podman {' '.join(question)}", done.stdout + done.stderr))

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self.join()
        self.ask("inspect", *self.containers)
        for name in self.containers:
            self.ask("logs", name)
