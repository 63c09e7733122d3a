# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What contract v1 demands beside its configuration: phase ``datastorage_access``. PRIVATE to the collection.

A certificate to sign with, the kubeconfig of an API server that is asked about every request, and for those who send
requests a token. With the stub of an API server, token and kubeconfig are made here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set
from urllib.parse import urlsplit

from ansible_collections.kubernaut.integration.plugins.module_utils import _files
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import (
    Context,
    Options,
    Phase,
    PhaseError,
    Result,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._plan import LOOPBACK
from ansible_collections.kubernaut.integration.plugins.module_utils._state import (
    make_private,
    state_home,
    write_private,
)

CERTIFICATE, KEY, KUBECONFIG, TOKENS, TOKEN = "tls.crt", "tls.key", "kubeconfig", "tokens.json", "datastorage.token"
#: What clients of the API trust.
AUTHORITY = "datastorage.crt"
#: Days for which a certificate is made, and seconds that must be left of it.
DAYS, LEAST = 3650, 7 * 24 * 3600
#: Seconds for one call of openssl; a key of 2048 bits takes about 0.1 s.
PATIENCE = 60
#: Bytes of chance in a token.
LENGTH = 24
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?\n-----END \1-----\n", re.DOTALL)
#: What a token may be made of; RFC 6750.
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
#: Keys of a kubeconfig that name a file, which the container does not have.
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def _openssl(arguments: List[str], given: str = "") -> subprocess.CompletedProcess[str]:
    """Call openssl; what it prints is never shown.

    :raises PhaseError: there is none.
    """
    try:
        return subprocess.run(
            ["openssl", *arguments], input=given, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except FileNotFoundError:
        raise PhaseError(
            "openssl is not there, and contract v1 does not start without a certificate: install it (Debian: openssl)."
        ) from None


def make_pair(subject: str, names: Sequence[str] = ()) -> Dict[str, str]:
    """Return a new key and a certificate that it has signed itself, by file name.

    With openssl, which every Debian with CA certificates has; community.crypto needs a Python library on the target.

    :param names: under which a server is reached, such as ``DNS:localhost`` or ``IP:127.0.0.1``.
    """
    answer = _openssl(
        [
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", str(DAYS)),
            *("-subj", "/CN=" + subject, "-keyout", "-", "-out", "-"),
            *(("-addext", "subjectAltName=" + ",".join(names)) if names else ()),
        ]
    )
    blocks = {found[1]: found[0] for found in _PEM.finditer(answer.stdout)}
    if answer.returncode or sorted(blocks) != ["CERTIFICATE", "PRIVATE KEY"]:
        raise PhaseError("openssl makes no certificate: %s" % (answer.stderr.strip()[-300:] or "it says nothing"))
    return {CERTIFICATE: blocks["CERTIFICATE"], KEY: blocks["PRIVATE KEY"]}


def _names(certificate: str) -> Set[str]:
    """Return the names that a certificate is for, as :func:`make_pair` takes them."""
    said = _openssl(["x509", "-noout", "-ext", "subjectAltName"], certificate).stdout
    found = [name.strip() for line in said.splitlines()[1:] for name in line.split(",")]
    return {name.replace("IP Address:", "IP:") for name in found if name}


def pair(directory: str, check: bool, subject: str, names: Sequence[str] = ()) -> Dict[str, str]:
    """Return the certificate and key that are there, or new ones where they are missing, do not fit or expire soon.

    In check mode nothing is made: what is missing is an empty text.
    """
    found = {file: _files.read(os.path.join(directory, file)) or "" for file in (CERTIFICATE, KEY)}
    if all(found.values()):
        lasts = _openssl(["x509", "-noout", "-pubkey", "-checkend", str(LEAST)], found[CERTIFICATE])
        public = _openssl(["pkey", "-pubout"], found[KEY])
        fits = public.stdout and lasts.stdout.startswith(public.stdout) and _names(found[CERTIFICATE]) == {*names}
        if lasts.returncode == public.returncode == 0 and fits:
            return found
    return dict.fromkeys(found, "") if check else make_pair(subject, names)


def stub_kubeconfig(url: str) -> str:
    """Return a kubeconfig for an API server that asks nobody who he is."""
    parts: Dict[str, Any] = {
        "clusters": [{"name": "stub", "cluster": {"server": url}}],
        "users": [{"name": "datastorage", "user": {}}],
        "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "datastorage"}}],
    }
    # YAML as well: a JSON document is one.
    return json.dumps({"apiVersion": "v1", "kind": "Config", **parts, "current-context": "stub"}, indent=2) + "\n"


def stub_tokens(name: str, token: str) -> str:
    """Return the file by which the stub knows the one token that may write."""
    user = "system:serviceaccount:default:%s-ds-client" % name
    return json.dumps({"tokens": {token: {"user": user, "allowed": True}}}, indent=2) + "\n"


def _named(document: Mapping[str, Any], kind: str, name: Any) -> Mapping[str, Any]:
    """Return the part of a kubeconfig's list ``kind``s that has a name; empty when there is none."""
    for entry in document.get(kind + "s") or []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
            part: Mapping[str, Any] = entry[kind]
            return part
    return {}


def _holds_pem(data: Any) -> bool:
    """Tell whether data of a kubeconfig are a certificate, as far as there are any."""
    try:
        return not data or b"-----BEGIN CERTIFICATE-----" in base64.b64decode("".join(str(data).split()), validate=True)
    except ValueError:
        return False


def judge_kubeconfig(text: str, on_host: bool) -> str:
    """Return what is wrong with a kubeconfig for a service in a container, in words; empty when nothing is.

    :param on_host: the container shares the host's network, and so its loopback.
    """
    import yaml

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        document = None
    if not isinstance(document, dict):
        return "is no kubeconfig: name one that kubectl takes"
    context = _named(document, "context", document.get("current-context"))
    cluster, user = _named(document, "cluster", context.get("cluster")), _named(document, "user", context.get("user"))
    if not cluster.get("server"):
        return "has no server in its current context: set current-context (kubectl config use-context)"
    elsewhere = [key for part in (cluster, user) for key in _FILES if part.get(key)]
    if elsewhere:
        return (
            "names a file (%s), which the container does not have: write the data into it (kubectl config view --raw"
            " --flatten)" % elsewhere[0]
        )
    if not _holds_pem(cluster.get("certificate-authority-data")):
        return "has a certificate-authority-data that is no PEM in base64: write it anew (kubectl config view --raw)"
    host = urlsplit(str(cluster["server"])).hostname or ""
    if LOOPBACK.fullmatch(host) and not on_host:
        return (
            "names the server %s, which in a container is the container itself: set datastorage_network=host, or name"
            " an address that the container reaches" % host
        )
    return ""


def find_token(options: Options, kept: str) -> Optional[str]:
    """Return the token that was given, lies in the file that was named, or was kept; None when there is none.

    :raises PhaseError: it can be no token, or the named file cannot be read.
    """
    token, source = options["token"], "datastorage_token"
    if not token and options["token_file"]:
        found = _files.read(os.path.realpath(options["token_file"]))
        source = "datastorage_token_file"
        if not (found or "").strip():
            raise PhaseError("%s: %s holds no token; name a file that does." % (source, options["token_file"]))
        token = (found or "").strip()
    if not token:
        token, source = (_files.read(kept) or "").strip(), kept
    if token and not _BEARER.fullmatch(token):
        raise PhaseError(
            "%s: it holds a character that no bearer token has; give the token alone, in one line." % source
        )
    return token or None


def _kubeconfig(options: Options) -> str:
    """Return the kubeconfig that DataStorage gets.

    :raises PhaseError: the one that was named cannot be used in a container.
    """
    if options["stub_url"]:
        return stub_kubeconfig(options["stub_url"])
    text = _files.read(os.path.realpath(options["kubeconfig"])) if options["kubeconfig"] else None
    if text is None:
        raise PhaseError(
            "datastorage_kubeconfig: contract v1 asks an API server of Kubernetes about every token; name the"
            " kubeconfig of one that this user can read, or set datastorage_auth=stub.",
            cause="kubeconfig-missing",
        )
    wrong = judge_kubeconfig(text, options["on_host"])
    if wrong:
        raise PhaseError("datastorage_kubeconfig: %s %s." % (options["kubeconfig"], wrong), cause="kubeconfig-unfit")
    return text


def run(options: Options, context: Context) -> Result:
    """Install what is demanded and keep the token, or only say which token it is.

    :raises PhaseError: kubeconfig or token are missing or cannot be used, or nothing can be made of openssl.
    """
    state = os.path.join(state_home(options["state_dir"]), options["name"])
    kept = os.path.join(state, TOKEN)
    token = find_token(options, kept)
    kept_authority = os.path.join(state, AUTHORITY)
    authority = options["ca_file"] if options["outside"] else kept_authority if options["tls"] else ""
    if not options["create"]:
        changed_kept = bool(options["outside"] and token and _keep(kept, token + "\n", context.check))
        return {
            "changed": changed_kept,
            "token": token or "",
            "token_file": kept if token else "",
            "ca_file": authority,
        }
    kubeconfig = _kubeconfig(options)
    if not token and not options["stub_url"]:
        raise PhaseError(
            "datastorage_token_file: contract v1 asks everybody for a token; name the file with one that may create the"
            " service data-storage-service, or give it as datastorage_token.",
            cause="token-missing",
        )
    token = token or secrets.token_urlsafe(LENGTH)
    directory = os.path.join(state, "config", "access")
    files = {
        **pair(directory, context.check, "datastorage-signing-" + options["name"]),
        KUBECONFIG: kubeconfig,
    }
    owner = options["owner"] if _files.may_give_away() else None
    changed: List[str] = []
    if not context.check:
        make_private(os.path.join(state, "config"))
    changed += _install(directory, files, owner, context.check)
    api = os.path.join(state, "config", "api")
    if not options["tls"]:
        changed += _removed([*(os.path.join(api, name) for name in (CERTIFICATE, KEY)), kept_authority], context.check)
    else:
        shown = pair(api, context.check, "datastorage-" + options["name"], options["names"])
        changed += _install(api, shown, owner, context.check)
        changed += [authority] if _keep(authority, shown[CERTIFICATE], context.check) else []
        files = {**files, **{"api/" + name: text for name, text in shown.items()}}
    if options["stub_url"]:
        changed += _install(
            os.path.join(state, "config", "auth"), {TOKENS: stub_tokens(options["name"], token)}, owner, context.check
        )
    changed += [kept] if _keep(kept, token + "\n", context.check) else []
    content_hash, key_changed = _files.content_hash(directory, files, context.check)
    return {
        "changed": bool(changed + key_changed),
        "changed_files": changed + key_changed,
        "token": token,
        "token_file": kept,
        "ca_file": authority,
        "content_hash": content_hash,
    }


def _removed(paths: Sequence[str], check: bool) -> List[str]:
    """Remove the files that are there of these, and return which."""
    there = [path for path in paths if os.path.exists(path)]
    for path in there if not check else ():
        os.unlink(path)
    return there


def _keep(path: str, text: str, check: bool) -> bool:
    """Keep a file in the stack's directory, where there is one by now; return whether that is news."""
    return os.path.isdir(os.path.dirname(path)) and write_private(path, text, check=check)


def _install(directory: str, files: Mapping[str, str], owner: Optional[int], check: bool) -> List[str]:
    """Install files for a container's user, as the configuration's are: see ``_adr030.run``."""
    directory_mode, mode = (0o755, 0o444) if owner is None else (0o500, 0o400)
    wanted = [_files.Wanted(name, text, mode) for name, text in files.items()]
    return _files.install(directory, directory_mode, wanted, owner, check)


PHASE = Phase(
    name="datastorage_access",
    run=run,
    argument_spec={
        "name": {"type": "str", "required": True},
        "state_dir": {"type": "str", "default": ""},
        "owner": {"type": "int"},
        "kubeconfig": {"type": "str", "default": ""},
        "stub_url": {"type": "str", "default": ""},
        "on_host": {"type": "bool", "default": False},
        "token": {"type": "str", "default": "", "no_log": True},
        "token_file": {"type": "str", "default": "", "no_log": False},
        "tls": {"type": "bool", "default": False},
        "names": {"type": "list", "elements": "str", "default": []},
        "ca_file": {"type": "str", "default": ""},
        "create": {"type": "bool", "default": True},
        "outside": {"type": "bool", "default": False},
    },
    libraries=("yaml",),
)
