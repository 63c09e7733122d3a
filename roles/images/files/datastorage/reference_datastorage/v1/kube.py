# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a bearer token belongs to and what that user may do, asked of the Kubernetes API server of a kubeconfig.

The original asks in protobuf, through client-go; here the same two questions are asked in JSON, which every API server
takes, over the standard library.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import yaml

TIMEOUT = 30.0  # seconds for one question
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RESOURCE, NAME = "services", "data-storage-service"
_MAX_ANSWER = 1024 * 1024  # bytes


class KubeconfigError(Exception):
    """The kubeconfig cannot be used. The text quotes no secret."""


class ReviewError(Exception):
    """The API server gave no answer that says yes or no."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the API server says about a token: its user, None for a token it does not know, and whether it may."""

    user: str | None
    allowed: bool


class Reviewer(Protocol):
    """Asks about tokens."""

    def review(self, token: str, verbs: Sequence[str]) -> Verdict:
        """Say whose the token is, and whether that user has every one of ``verbs``. Blocks. Raises ReviewError."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server and how to speak to it."""

    host: str
    port: int
    path: str
    tls: ssl.SSLContext | None
    token: str = field(repr=False)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that is not open yet."""
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=self.tls)


class ClusterReviewer:
    """Asks an API server, over one connection per thread. No answer is remembered: a revoked token fails at once."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Remember whom to ask, and the namespace of the service that access is asked for."""
        self._cluster, self._namespace = cluster, namespace
        self._kept = threading.local()

    def review(self, token: str, verbs: Sequence[str]) -> Verdict:
        """Say whose the token is, and whether that user has every one of ``verbs``. Blocks. Raises ReviewError."""
        kept: http.client.HTTPConnection | None = getattr(self._kept, "connection", None)
        try:
            if kept is not None:
                # The server may have closed it meanwhile: then it is asked once more.
                with contextlib.suppress(ConnectionError, ssl.SSLError, http.client.HTTPException):
                    return self._review(kept, token, verbs)
                kept.close()
            self._kept.connection = self._cluster.connect()
            return self._review(self._kept.connection, token, verbs)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ReviewError(" ".join(str(error).split()) or type(error).__name__) from error

    def _review(self, connection: http.client.HTTPConnection, token: str, verbs: Sequence[str]) -> Verdict:
        user = self._user(connection, token)
        return Verdict(user, user is not None and all(self._may(connection, user, verb) for verb in verbs))

    def _user(self, connection: http.client.HTTPConnection, token: str) -> str | None:
        status = self._ask(connection, TOKEN_REVIEWS, "authentication.k8s.io/v1", "TokenReview", {"token": token})
        name = status.get("user", {}).get("username") if status.get("authenticated") is True else None
        return name if isinstance(name, str) and name else None

    def _may(self, connection: http.client.HTTPConnection, user: str, verb: str) -> bool:
        resource = {"namespace": self._namespace, "verb": verb, "resource": RESOURCE, "name": NAME}
        spec = {"user": user, "resourceAttributes": resource}
        status = self._ask(connection, ACCESS_REVIEWS, "authorization.k8s.io/v1", "SubjectAccessReview", spec)
        return status.get("allowed") is True

    def _ask(
        self, connection: http.client.HTTPConnection, path: str, version: str, kind: str, spec: dict[str, Any]
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._cluster.token:
            headers["Authorization"] = f"Bearer {self._cluster.token}"
        body = json.dumps({"apiVersion": version, "kind": kind, "spec": spec})
        connection.request("POST", f"{self._cluster.path}{path}?timeout={TIMEOUT:.0f}s", body, headers)
        answer = connection.getresponse()
        content = answer.read(_MAX_ANSWER)
        if answer.status not in (200, 201):
            raise ReviewError(f"the API server answers {answer.status} {answer.reason} to a {kind}")
        review = json.loads(content)
        status = review.get("status") if isinstance(review, dict) else None
        if not isinstance(status, dict):
            raise ReviewError(f"the API server's {kind} has no status")
        return status


def load_kubeconfig(path: str) -> Cluster:
    """Return the API server of the file's current context. Raises KubeconfigError."""
    try:
        with open(path, encoding="utf-8") as file:
            root = yaml.safe_load(file)
    except OSError as error:
        raise KubeconfigError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    except (yaml.YAMLError, ValueError):
        raise KubeconfigError(f"{path} is not YAML") from None
    if not isinstance(root, dict):
        raise KubeconfigError(f"{path} is not a mapping")
    context = _named(root, "contexts", "context", root.get("current-context"))
    cluster = _named(root, "clusters", "cluster", context.get("cluster"))
    user = _named(root, "users", "user", context["user"]) if context.get("user") else {}
    directory = os.path.dirname(os.path.abspath(path))
    try:
        return _cluster(cluster, user, directory)
    except (OSError, ValueError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise KubeconfigError(
            f"{path}: a certificate, key or token of the current context is unusable: {reason}"
        ) from None


def _named(root: dict[str, Any], plural: str, singular: str, name: object) -> dict[str, Any]:
    entries = root.get(plural)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(singular), dict):
            found: dict[str, Any] = entry[singular]
            return found
    raise KubeconfigError(f"invalid configuration: there is no {singular} named {name!r} (current-context)")


def _cluster(cluster: dict[str, Any], user: dict[str, Any], directory: str) -> Cluster:
    server = str(cluster.get("server", ""))
    url = urlsplit(server if "://" in server else f"http://{server}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise KubeconfigError(f"invalid configuration: server {server!r} is no URL")
    if user.keys() & {"exec", "auth-provider"}:
        raise KubeconfigError("invalid configuration: the reference service runs no program to get its credentials")
    token = str(user.get("token", ""))
    if not token and user.get("tokenFile"):
        with open(os.path.join(directory, user["tokenFile"]), encoding="utf-8") as file:
            token = file.read().strip()
    return Cluster(
        host=url.hostname,
        port=url.port or (443 if url.scheme == "https" else 80),
        path=url.path.rstrip("/"),
        tls=_tls(cluster, user, directory) if url.scheme == "https" else None,
        token=token,
    )


def _tls(cluster: dict[str, Any], user: dict[str, Any], directory: str) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", directory)
    context = ssl.create_default_context(cadata=authority)
    if cluster.get("insecure-skip-tls-verify") is True:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = (_material(user, name, directory) for name in ("client-certificate", "client-key"))
    if certificate and key:
        with _in_memory(f"{certificate}\n{key}") as name:
            context.load_cert_chain(name)
    return context


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Lend a file that lies in memory: Python reads a key only from a file, and the root file system is read-only."""
    with os.fdopen(os.memfd_create("kubeconfig"), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _material(section: dict[str, Any], name: str, directory: str) -> str | None:
    """Return the PEM text that is in the section itself (base64) or in the file it names."""
    if section.get(f"{name}-data"):
        return base64.b64decode(str(section[f"{name}-data"]), validate=True).decode("ascii")
    if section.get(name):
        with open(os.path.join(directory, str(section[name])), encoding="ascii") as file:
            return file.read()
    return None
