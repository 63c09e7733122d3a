# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are taken out of texts, however they are written."""

from __future__ import annotations

import base64
import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils._mask import (
    Mask,
    secrets_in,
    shown,
    shown_container,
    shown_settings,
)

MASKED = "********"
#: The public default, and one with characters that URLs, JSON and base64 treat in ways of their own.
SECRETS = ("test_password", "S3same&<open>/+%?=#@:~")


def in_base64(secret: str, before: str = "", after: str = "") -> str:
    return base64.b64encode((before + secret + after).encode()).decode()


WRITTEN = {
    "plain": lambda secret: secret,
    "quoted": lambda secret: quote(secret, safe=""),
    "quoted as a form": quote_plus,
    "quoted but for some": lambda secret: quote(secret, safe="&+=@:"),
    "quoted in lower case": lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
    "every byte quoted": lambda secret: "".join("%%%02X" % byte for byte in secret.encode()),
    "json": lambda secret: json.dumps(secret)[1:-1],
    "json of Go": lambda secret: "".join("\\u%04x" % ord(c) if c in "<>&" else c for c in secret),
    "base64": in_base64,
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", WRITTEN)
def test_a_known_secret_is_masked_however_it_is_written(secret: str, form: str) -> None:
    text = "before %s after" % WRITTEN[form](secret)
    assert Mask([secret])(text) == "before %s after" % MASKED


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("after", ["", "!", "!!", "@host/db"])
def test_a_secret_within_base64_is_masked_wherever_it_begins(secret: str, before: str, after: str) -> None:
    """``user:password`` in base64 is what HTTP sends as basic authentication."""
    text = in_base64(secret, before, after)
    masked = Mask([secret])(text)
    assert MASKED in masked
    left = masked.replace(MASKED, "")
    assert len(left) <= len(in_base64(before)) + len(in_base64(after)) + 4


def test_the_longer_secret_goes_first() -> None:
    assert Mask(["sesame", "sesame-open"])("sesame-open, sesame") == "%s, %s" % (MASKED, MASKED)


@pytest.mark.parametrize("short", ["", "a", "abc"])
def test_what_is_too_short_is_no_secret(short: str) -> None:
    text = "an abacus"
    assert Mask([short])(text) == text


def test_letters_that_are_not_ascii() -> None:
    secret = "Grüße Welt"
    texts = (secret, quote(secret), quote(secret).lower().replace("g", "G", 1).replace("w", "W", 1), quote_plus(secret))
    for text in (*texts, json.dumps(secret)[1:-1]):
        assert Mask([secret])(text) == MASKED


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://me:un@known@db/x", "postgres://me:********@db/x"),
        ("redis://:unknown@127.0.0.1:6379", "redis://:********@127.0.0.1:6379"),
        ("http://proxy:3128 http://a:b@c", "http://proxy:3128 http://a:********@c"),
        ("http://127.0.0.1:8080/health", "http://127.0.0.1:8080/health"),
    ],
)
def test_a_login_in_an_address_is_masked_even_if_nobody_knows_it(text: str, masked: str) -> None:
    assert Mask([])(text) == masked


FILE = """\
# the password of the database
database:
  secretsFile: /etc/datastorage/db-secrets.yaml
  usernameKey: username
  passwordKey: password
"username": "slm_user"
"password": "old one"
  api_token: abc
requirepass open.sesame
protected-mode no
POSTGRES_PASSWORD=another
POSTGRES_PASSWORD_FILE=/run/secrets/postgres/password
REDIS_PASSWORD=''
"password": ""
"""


def test_values_are_found_by_name() -> None:
    assert secrets_in(FILE) == ["old one", "abc", "open.sesame", "another"]


def test_values_are_masked_by_name_and_nothing_else_is() -> None:
    lines = zip(shown(FILE).splitlines(), FILE.splitlines(), strict=True)
    changed = [line for line, before in lines if line != before]
    assert changed == [
        '"password": ********',
        "  api_token: ********",
        "requirepass ********",
        "POSTGRES_PASSWORD=********",
    ]


@pytest.mark.parametrize(
    ("text", "found", "masked"),
    [
        # What switches something, or is nothing, is no secret: masking it would mask every `false` of the evidence.
        ("auth: false", [], None),
        ("auth: true # of the proxy", [], None),
        ("token: null", [], None),
        ("password: ~", [], None),
        ("password:", [], None),
        ("password: ''", [], None),
        ("tls-auth-clients no", [], None),
        ("authentication: scram-sha-256", [], None),
        ("auth-method trust", [], None),
        ("author: Ada", [], None),
        ("auth: open.sesame", ["open.sesame"], "auth: ********"),
        ("masterauth open.sesame", ["open.sesame"], "masterauth ********"),
        ("Authorization: Bearer abcd", ["Bearer abcd"], "Authorization: ********"),
        # Where a secret is.
        ("passwordKey: password", [], None),
        ("password_key: password", [], None),
        ("tls-key-file /etc/tls.key", [], None),
        ("apiKey: abcd", ["abcd"], "apiKey: ********"),
        ("hmac_key=abcd", ["abcd"], "hmac_key=********"),
        # Values of several lines.
        ("password: |\n  one\n  two\nuser: me", ["one", "two"], "password: ********\nuser: me"),
        ("password: >-\n  one\n\n  two\n", ["one", "two"], "password: ********\n"),
        ("password: |2+ # as it was\n    one\n\nuser: me", ["one"], "password: ********\n\nuser: me"),
        ("a:\n  token: |\n    one\n  user: me", ["one"], "a:\n  token: ********\n  user: me"),
        ("- password: |\n    one\n  user: me", ["one"], "- password: ********\n  user: me"),
        ("password: one\n  two\nuser: me", ["one", "two"], "password: ********\nuser: me"),
        ("password:\n  one\nuser: me", ["one"], "password:\n  ********\nuser: me"),
        ('password: "one\n  two" # so\nuser: me', ["one", "two"], "password: ******** # so\nuser: me"),
        ("passwords:\n  - one\n  - 'two'\nuser: me", ["one", "two"], "passwords:\n  ********\nuser: me"),
        ("password: !vault |\n  $ANSIBLE_VAULT;1.1\n  6162", ["$ANSIBLE_VAULT;1.1", "6162"], "password: ********"),
        ("password: !open", ["!open"], "password: ********"),
        # A mapping is no value, but may hold some.
        ("secrets:\n  user: me\n  token: abcd", ["abcd"], "secrets:\n  user: me\n  token: ********"),
        ("auth:\n  enabled: true\n", [], None),
        # Mappings on one line, as JSON has them.
        ('{"user": "me", "password": "a\\"b,}", "x": 1}', ['a"b,}'], '{"user": "me", "password": ********, "x": 1}'),
        ("{password: one, user: me}", ["one"], "{password: ********, user: me}"),
        ("{password: 'it''s', user: me}", ["it's"], "{password: ********, user: me}"),
        ('{"password": "", "auth": false}', [], None),
        # What is quoted badly is still no reason to show it.
        ('password: "one\n  two\nuser: me', ["one", "two"], "password: ********\nuser: me"),
        # Of other languages.
        ("export PASSWORD='one two'", ["one two"], "export PASSWORD=********"),
        ("requirepass one#two", ["one#two"], "requirepass ********"),
        ("password: one#two # three", ["one#two"], "password: ********"),
    ],
)
def test_values_are_found_in_every_way_of_writing_them(text: str, found: list[str], masked: str | None) -> None:
    assert secrets_in(text) == found
    assert shown(text) == (text if masked is None else masked)


def test_settings_are_masked_by_name() -> None:
    settings = {
        "requirepass": "x",
        "masterauth": "",
        "maxmemory": "0",
        "tls-key-file-pass": "y",
        "tls-auth-clients": "yes",
        "port": 1,
    }
    assert shown_settings(settings) == {
        "requirepass": MASKED,
        "masterauth": "",
        "maxmemory": "0",
        "tls-key-file-pass": MASKED,
        "tls-auth-clients": "yes",
        "port": 1,
    }


def test_an_inspect_is_shown_without_secrets() -> None:
    container = {
        "Name": "x",
        "Config": {
            "Env": [
                "PATH=/bin",
                "POSTGRES_PASSWORD=hunter2",
                "POSTGRES_PASSWORD_FILE=/run/secrets/pw",
                "API_TOKEN=hunter2",
                "REDISCLI_AUTH=hunter2",
                "POSTGRES_HOST_AUTH_METHOD=trust",
            ],
            "CreateCommand": ["podman", "run", "--env", "PGPASSWORD=hunter2", "--env=MY_SECRET=hunter2", "--name=x"],
        },
    }
    assert shown_container(container) == {
        "Name": "x",
        "Config": {
            "Env": [
                "PATH=/bin",
                "POSTGRES_PASSWORD=********",
                "POSTGRES_PASSWORD_FILE=/run/secrets/pw",
                "API_TOKEN=********",
                "REDISCLI_AUTH=********",
                "POSTGRES_HOST_AUTH_METHOD=trust",
            ],
            "CreateCommand": ["podman", "run", "--env", "PGPASSWORD=********", "--env=MY_SECRET=********", "--name=x"],
        },
    }


def test_an_inspect_without_environment() -> None:
    assert shown_container({"Config": {"Env": None}})["Config"] == {"Env": [], "CreateCommand": []}


def test_a_large_text_takes_no_time_worth_mentioning() -> None:
    """A log of 10 MiB must not eat the budget of all collectors."""
    mask = Mask(SECRETS)
    begin = time.monotonic()
    mask("2026-11-24T15:15:57.729Z\tINFO\tdatastorage\tapp.py:280\tHTTP request test pass S3sam\n" * 20_000)
    assert time.monotonic() - begin < 3
