# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a TCP port free on the loopback addresses, and who has it? PRIVATE to the collection."""

from __future__ import annotations

import errno
import glob
import os
import socket
import sys
from typing import Dict, FrozenSet, List, Mapping, Tuple

#: What a suite may mean by ``localhost``; a foreign listener on either would answer instead of the stack.
LOOPBACK: Tuple[Tuple[socket.AddressFamily, str], ...] = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, "::1"),
)
_LISTEN = "0A"


def _in_proc(family: socket.AddressFamily, address: str) -> str:
    """Write an address as ``/proc/net/tcp`` does: words of 32 bits in the machine's own order."""
    packed = socket.inet_pton(family, address)
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join("%08X" % int.from_bytes(word, sys.byteorder) for word in words)


#: What :func:`taken` returns -> the local addresses of sockets that answer there, wildcards included.
_ANSWERING: Mapping[str, FrozenSet[str]] = {
    "127.0.0.1": frozenset(
        [
            _in_proc(socket.AF_INET, "127.0.0.1"),
            _in_proc(socket.AF_INET, "0.0.0.0"),  # noqa: S104 - looked for, not bound to
            _in_proc(socket.AF_INET6, "::ffff:127.0.0.1"),
            _in_proc(socket.AF_INET6, "::"),
        ]
    ),
    "[::1]": frozenset([_in_proc(socket.AF_INET6, "::1"), _in_proc(socket.AF_INET6, "::")]),
}


def taken(port: int) -> List[str]:
    """Return the loopback addresses on which somebody listens at ``port``."""
    addresses: List[str] = []
    for family, address in LOOPBACK:
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue  # a kernel without IPv6 has no [::1] to take
        with probe:
            # As servers do, so that connections still in TIME_WAIT do not count as a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    continue  # IPv6 is switched off: there is no such address
                if error.errno != errno.EADDRINUSE:
                    raise
                addresses.append(address if family is socket.AF_INET else "[%s]" % address)
    return addresses


def listener_inodes(table: str, port: int, address: str) -> List[str]:
    """Return the socket inodes that answer at ``address`` and ``port``.

    :param table: text of ``/proc/net/tcp`` or ``tcp6``.
    :param address: one that :func:`taken` returned.
    """
    inodes = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTEN:
            continue
        local, _colon, number = fields[1].rpartition(":")
        if int(number, 16) == port and local in _ANSWERING[address]:
            inodes.append(fields[9])
    return inodes


def _name(pid: str) -> str:
    """Name a process; podman's monitor, which holds a container's port, by the container."""
    with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
        name = file.read().strip()
    with open("/proc/%s/cmdline" % pid, encoding="utf-8", errors="replace") as file:
        words = file.read().split("\0")
    if name == "conmon" and "-n" in words[:-1]:
        return "the container %s" % words[words.index("-n") + 1]
    return "%s (pid %s)" % (name, pid)


def owner(port: int, address: str) -> str:
    """Name the process that answers at ``address`` and ``port``: ``NAME (pid N)``, as far as this user may see it."""
    wanted: Dict[str, None] = {}
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                wanted.update({"socket:[%s]" % inode: None for inode in listener_inodes(file.read(), port, address)})
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) in wanted:
                pid = link.split("/")[2]
                return _name(pid)
        except OSError:
            continue  # the process ended, or belongs to another user
    return "a process that this user may not see"
