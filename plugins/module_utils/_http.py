# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an HTTP service directly, with a deadline and a bound. PRIVATE to the collection.

A direct socket to the given host and port: ``http.client`` knows nothing of proxies, and a proxy between a probe and
the service on this very machine could only lie. One request per connection, since a probe must not profit from an old
one.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Options, PhaseError

#: Bytes of a response body that are read; what a probe asks for is far smaller.
BODY_LIMIT = 4 * 1024 * 1024


class HttpError(Exception):
    """No usable response came; the message is one line without the request's content."""


class HttpRefusedError(HttpError):
    """Nobody listens at the address, or its name is unknown: the request was not sent."""


class HttpTimeoutError(HttpError):
    """The time was over before the response was complete; whether the service acted is unknown."""


class HttpBrokenError(HttpError):
    """The connection broke, or what came is not HTTP, not JSON or too large; whether the service acted is unknown."""


class HttpTlsError(HttpError):
    """The two sides found no TLS that both take: the request was not sent.

    ``state`` is what a gate calls it.
    """

    state = "tls"


class HttpPlainError(HttpTlsError):
    """What answers speaks no TLS at all."""

    state = "plain"


@dataclass(frozen=True)
class Response:
    """A complete response.

    :param status: HTTP status code.
    :param headers: header fields, names in lower case.
    :param body: the body, at most :data:`BODY_LIMIT` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def wants_tls(self) -> bool:
        """Whether this is what Go's server says to a request without TLS."""
        return self.status == 400 and b"HTTP request to an HTTPS server" in self.body[:200]

    def json(self) -> Any:
        """Return the decoded body.

        :raises HttpBrokenError: the body is not JSON in UTF-8.
        """
        try:
            return json.loads(self.body.decode("utf-8"))
        except ValueError as error:
            raise HttpBrokenError(
                "status %d with a body that is not JSON: %s" % (self.status, self.text(120))
            ) from error

    def text(self, limit: int) -> str:
        """Return the body's first ``limit`` characters as one printable line, for a message."""
        text = " ".join(self.body[: 4 * limit].decode("utf-8", "replace").split())
        printable = "".join(character if character.isprintable() else "?" for character in text)
        return printable if len(printable) <= limit else printable[:limit] + "..."


@dataclass(frozen=True)
class Service:
    """Where requests go, and what every one of them shows.

    :param host: name, IPv4 or IPv6 address (without brackets).
    :param token: bearer token; empty for none.
    :param tls: whom to trust; None for plain HTTP.
    """

    host: str
    port: int
    token: str = ""
    tls: Optional[ssl.SSLContext] = None

    def get(self, path: str, timeout: float) -> Response:
        """GET ``path`` (with its query); see :func:`request`."""
        return request(self, "GET", path, timeout)

    def post_json(self, path: str, document: Any, timeout: float) -> Response:
        """POST ``document`` as JSON to ``path``, once: a request is never repeated; see :func:`request`."""
        body = json.dumps(document, ensure_ascii=False).encode("utf-8")
        return request(self, "POST", path, timeout, body)


def trust(options: Options) -> Optional[ssl.SSLContext]:
    """Return whom to trust, or None where TLS is not spoken.

    :param options: values of :data:`TLS_SPEC`.
    :raises PhaseError: the file with the certificates cannot be used.
    """
    if not options["datastorage_tls"]:
        return None
    path = options["datastorage_ca_file"]
    try:
        return ssl.create_default_context(cafile=path or None)
    except OSError as error:  # SSLError is one
        raise PhaseError(
            "datastorage_ca_file: %s: %s; name a PEM file with the certificate to trust."
            % (path, "there is no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror)
        ) from None


#: Options of every phase that asks DataStorage's API; documented in the doc fragment ``tls``.
TLS_SPEC: Dict[str, Dict[str, Any]] = {
    "datastorage_tls": {"type": "bool", "default": False},
    "datastorage_ca_file": {"type": "str", "default": ""},
}


def request(service: Service, method: str, path: str, timeout: float, body: Optional[bytes] = None) -> Response:
    """Send one request and return the complete response, whatever its status.

    :param timeout: seconds for the whole exchange. Header lines are bounded one by one, so a service that drips them
        can take longer; the body cannot.
    :param body: JSON.
    :raises HttpRefusedError: the connection could not be made.
    :raises HttpTimeoutError: ``timeout`` has passed.
    :raises HttpBrokenError: the response is broken or longer than :data:`BODY_LIMIT`.
    :raises HttpTlsError: the service does not speak TLS, or shows a certificate that is not trusted.
    """
    where = "%s:%d" % (service.host, service.port)
    deadline = time.monotonic() + timeout
    headers = {"Connection": "close", "Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if service.token:
        headers["Authorization"] = "Bearer " + service.token
    patience = max(0.001, timeout)
    connection = (
        http.client.HTTPSConnection(service.host, service.port, timeout=patience, context=service.tls)
        if service.tls
        else http.client.HTTPConnection(service.host, service.port, timeout=patience)
    )
    try:
        try:
            connection.connect()
        except socket.timeout as error:
            raise HttpTimeoutError("no connection to %s within %.1f s" % (where, timeout)) from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:  # a forwarder's port, and nobody behind it yet
            raise HttpBrokenError("the connection to %s ended before there was TLS" % where) from error
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            # OpenSSL calls the beginning of an answer in plain text a version, or a record layer that failed.
            plain = error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
            kind = HttpPlainError if plain else HttpTlsError
            raise kind("no TLS with %s: %s" % (where, reason.lower().replace("_", " "))) from error
        except OSError as error:
            raise HttpRefusedError("no connection to %s: %s" % (where, error.strerror or error)) from error
        # http.client forgets its socket when the response ends the connection; the deadline still needs it.
        stream: socket.socket = connection.sock
        try:
            stream.settimeout(_left(deadline))
            connection.request(method, path, body, headers)
            stream.settimeout(_left(deadline))
            response = connection.getresponse()
            return Response(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=_read(response, stream, deadline, where),
            )
        except socket.timeout as error:
            raise HttpTimeoutError("no complete answer from %s within %.1f s" % (where, timeout)) from error
        except (OSError, http.client.HTTPException) as error:
            raise HttpBrokenError("broken answer from %s: %s: %s" % (where, type(error).__name__, error)) from error
    finally:
        connection.close()


def _left(deadline: float) -> float:
    """Return the seconds left; raises ``socket.timeout`` when there are none, as the socket itself would."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout("timed out")
    return left


def _read(response: http.client.HTTPResponse, stream: socket.socket, deadline: float, where: str) -> bytes:
    """Read the body piece by piece, so that both the deadline and the bound hold whatever the service does."""
    body = bytearray()
    while not response.isclosed():
        stream.settimeout(_left(deadline))
        piece = response.read1(65536)
        if not piece:
            break
        body += piece
        if len(body) > BODY_LIMIT:
            raise HttpBrokenError("the answer from %s is longer than %d bytes" % (where, BODY_LIMIT))
    # read1() takes an early end for the end; Content-Length tells them apart.
    if response.length:
        raise HttpBrokenError("the answer from %s ended %d bytes early" % (where, response.length))
    return bytes(body)
