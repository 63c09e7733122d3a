# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DataStorage that misbehaves in the way that the variable DIAL says; where it can, it is the real service that does.

Runs as the image's own user in a read-only container, in which only /tmp may be written.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NoReturn

SERVICE = [sys.executable, "-m", "reference_datastorage"]
PORT = 8080
HERE = Path("/tmp")  # noqa: S108 - its own, in a container


def become(*command: str) -> NoReturn:
    """Become another program, as process 1."""
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606


def become_service() -> NoReturn:
    """Become the reference service."""
    become(*SERVICE)


def with_file(name: str, change: Callable[[str], str]) -> Path:
    """Let the service read a changed copy of a file that lies beside its configuration, or of the configuration."""
    configuration = Path(os.environ["CONFIG_PATH"])
    copy = HERE / name
    copy.write_text(change((configuration.parent / name).read_text()))
    if name != configuration.name:
        with_file(configuration.name, lambda text: text.replace(str(configuration.parent / name), str(copy)))
    else:
        os.environ["CONFIG_PATH"] = str(copy)
    return copy


def no_config_path() -> NoReturn:
    """Start it without CONFIG_PATH."""
    del os.environ["CONFIG_PATH"]
    become_service()


def unreadable_secret() -> NoReturn:
    """Take the mode of its secret file away."""
    with_file("db-secrets.yaml", str).chmod(0)
    become_service()


def numeric_password() -> NoReturn:
    """Give it a password that is a number to YAML."""
    with_file("db-secrets.yaml", lambda text: re.sub(r'(?m)^("password":).*$', r"\1 12345", text))
    become_service()


def wrong_host() -> NoReturn:
    """Let it look for a PostgreSQL that is not in its network."""
    with_file("config.yaml", lambda text: re.sub(r"(?m)^(\s*host:).*_postgres_1.*$", r"\1 nowhere_postgres_1", text))
    become_service()


def port_bound() -> NoReturn:
    """Listen at its port before it does."""
    taken = socket.create_server(("", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    if os.fork() == 0:
        time.sleep(60)
    taken.close()
    become_service()


def out_of_memory() -> NoReturn:
    """Take memory until there is no more."""
    taken = []
    while True:
        taken.append(os.urandom(1 << 20))


def wrong_body() -> NoReturn:
    """Answer 200 as some other service does."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "up", "service": "petstore"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    HTTPServer(("", PORT), Other).serve_forever()
    sys.exit(1)


def flapping() -> NoReturn:
    """Be healthy, and end 2 s later."""
    with subprocess.Popen(SERVICE) as service:
        while not healthy():
            time.sleep(0.05)
        time.sleep(2)
        print("panic: something broke", flush=True)
        service.kill()
    sys.exit(3)


def healthy() -> bool:
    """Tell whether the service says that it is."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def unknown() -> NoReturn:
    """End for a reason that is in no table.

    The line and its end are written apart, as an unbuffered Python does: podman 4.3's `logs --tail` loses such a line.
    """
    for piece in ("the hamster left the wheel", "\n"):
        sys.stdout.write(piece)
        sys.stdout.flush()
        time.sleep(0.05)
    sys.exit(42)


def not_executable() -> NoReturn:
    """Have a shell execute what cannot be executed: exit status 126."""
    become("/bin/sh", "-c", "exec /etc/passwd")


def no_such_command() -> NoReturn:
    """Have a shell execute what is not there: exit status 127."""
    become("/bin/sh", "-c", "exec /usr/local/bin/data-storage-of-yesterday")


def slow() -> NoReturn:
    """Take 5 s before the start."""
    time.sleep(5)
    become_service()


POSITIONS: dict[str, Callable[[], NoReturn]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        no_config_path,
        unreadable_secret,
        numeric_password,
        wrong_host,
        port_bound,
        out_of_memory,
        wrong_body,
        flapping,
        unknown,
        not_executable,
        no_such_command,
        slow,
    )
}

if __name__ == "__main__":
    POSITIONS[os.environ["DIAL"]]()
