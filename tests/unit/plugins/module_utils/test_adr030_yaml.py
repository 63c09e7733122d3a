# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as the service's decoder reads it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.kubernaut.integration.plugins.module_utils import _adr030_read, _adr030_yaml
from ansible_collections.kubernaut.integration.plugins.module_utils._adr030_yaml import (
    BOOL,
    FLOAT,
    INT,
    LIST,
    TEXT,
    Malformed,
    Mismatch,
    decode,
)


def value(text: str) -> Any:
    """Return the node of ``key`` in ``key: text``."""
    root, _second = _adr030_yaml.first_document(f"key: {text}\n")
    return _adr030_yaml.entries(root)[0].value


#: Kind -> words without quotes.
WORDS = {
    "str": "word yes no on y 1:20 - + . ..5 0x 1e _1 = truE nUll 1e400 26-11-23 "
    " 2026-13-01 2026-02-30 2026-11-23T10:00:00 2026-11-23T24:00:00Z",
    "int": "0 12345 -7 +7 0777 0o17 0x1F 0b101 1_000 9223372036854775808 -9223372036854775808",
    "float": "1e3 1.5 .5 -1. 09 18446744073709551616 .inf -.Inf .nan",
    "bool": "true True TRUE false False FALSE",
    "null": "~ null Null NULL",
    "timestamp": "2026-11-23 2026-1-2 2026-11-23T10:00:00Z 2026-11-23t1:2:3+01:00 2026-11-23T10:00:00.5-02:00",
}


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *((word, kind) for kind, words in WORDS.items() for word in words.split()),
        ("", "null"),
        ("2026-1-2 3:04:05.6", "timestamp"),
    ],
)
def test_what_a_word_without_quotes_is(word: str, kind: str) -> None:
    assert _adr030_yaml.type_of(word) == kind


@pytest.mark.parametrize(
    ("text", "kind", "result"),
    [
        ("8080", INT, 8080),
        ("0777", INT, 0o777),
        ("1_000", INT, 1000),
        ("1e3", INT, 1000),
        ("8080.9", INT, 8080),
        ("~", INT, 0),
        ("", TEXT, ""),
        ("0123", TEXT, "0123"),
        ("yes", TEXT, "yes"),
        ("2026-11-23", TEXT, "2026-11-23"),
        ("'8080'", TEXT, "8080"),
        ("!!str 8080", TEXT, "8080"),
        ("True", BOOL, True),
        ("Off", BOOL, False),
        (".inf", FLOAT, float("inf")),
        ("'yes'", BOOL, True),
        ("null", BOOL, False),
        ("1.5", FLOAT, 1.5),
        ("50", FLOAT, 50.0),
        ("[a, 1]", LIST, ["a", "1"]),
        ("null", LIST, []),
    ],
)
def test_what_a_field_takes(text: str, kind: str, result: Any) -> None:
    found = decode(value(text), kind)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("'8080'", INT, "is text and must be a whole number"),
        ("!!str 8080", INT, "is text and must be a whole number"),
        ("true", INT, "is true or false and must be a whole number"),
        (".inf", INT, "is a number and must be a whole number"),
        (".nan", INT, "is a number and must be a whole number"),
        ("9223372036854775808", INT, "is a number and must be a whole number"),
        ("[1]", INT, "is a list and must be a whole number"),
        ("{a: 1}", TEXT, "is a mapping and must be text"),
        ("[a]", TEXT, "is a list and must be text"),
        ("1", BOOL, "is a number and must be true or false"),
        ("enabled", BOOL, "is text and must be true or false"),
        ("a", LIST, "is text and must be a list"),
        ("2026-11-23", FLOAT, "is a date and must be a number"),
    ],
)
def test_what_a_field_does_not_take(text: str, kind: str, said: str) -> None:
    with pytest.raises(Mismatch) as caught:
        decode(value(text), kind)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "value",
    [
        "*S3cret",
        "!S3cret!x",
        "&S3cret &S3cret",
        "%S3cret",
        "@S3cret",
        "`S3cret",
        "|S3cret",
        "*S3cret/b",
        "[S3cret",
        '"S3cret',
    ],
)
def test_a_password_that_cannot_be_parsed_is_not_said(value: str) -> None:
    with pytest.raises(Malformed) as caught:
        _adr030_yaml.first_document(f"password: {value}\n")
    assert "S3cret" not in caught.value.reason
    assert caught.value.reason.strip()


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("a: [1\nb: 2\n", (2, 2), "expected"),
        ("a: 1\nb: 2\na: 3\n", (3, 1), "mapping key 'a' already defined at line 1"),
        ("server:\n  port: 1\n  port: 2\n", (3, 3), "mapping key 'port' already defined at line 2"),
        ("\tx: 1\n", (1, 1), "cannot start any token"),
        ("a: \0\n", (1, 1), "special characters are not allowed"),
        ("a: *nobody\n", (1, 4), "undefined alias"),
        ("server: &a {<<: *a}\n", (1, 9), "contains itself"),
        ("server: &a\n  x: {y: *a}\n", (1, 1), "more than 2000 keys"),
    ],
)
def test_what_the_service_cannot_parse(text: str, where: tuple[int, int], reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        _adr030_read.flat(_adr030_yaml.first_document(text)[0])
    assert reason in caught.value.reason
    if "2000" not in reason:
        assert (caught.value.line, caught.value.column) == where


def test_a_key_that_is_there_twice_where_the_service_does_not_look_is_no_matter() -> None:
    assert "service" in _adr030_read.flat(_adr030_yaml.first_document("service:\n  a: 1\n  a: 2\n")[0])


def test_merged_keys_are_there_and_ones_own_win() -> None:
    text = "base: &base {host: one, port: 1}\nmore: &more {name: n}\ndatabase:\n  <<: [*base, *more]\n  host: two\n"
    found = _adr030_read.flat(_adr030_yaml.first_document(text)[0])
    below = {path: entry.value.value for path, entry in found.items() if path.startswith("database.")}
    assert below == {"database.host": "two", "database.port": "1", "database.name": "n"}


def test_a_dot_in_a_key_does_not_make_it_a_path() -> None:
    assert list(_adr030_read.flat(_adr030_yaml.first_document("database.host: x\n")[0])) == ["database·host"]


@pytest.mark.parametrize(
    ("text", "paths", "second"),
    [
        ("", [], None),
        ("# only this\n", [], None),
        ("a: 1\n", ["a"], None),
        ("a: 1\n---\nb: 2\n", ["a"], 2),
        ("---\n", [], None),
    ],
)
def test_only_the_first_document_counts(text: str, paths: list[str], second: int | None) -> None:
    root, found = _adr030_yaml.first_document(text)
    assert ([entry.path for entry in _adr030_yaml.entries(root)], found) == (paths, second)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("null\n", {}),
        ("password: word\n", {"password": "word"}),
        ('password: ""\n', {"password": ""}),
        ("password: yes\n", {"password": "yes"}),
        ("password: '12345'\n", {"password": "12345"}),
        ("pass.word: x\n", {"pass.word": "x"}),
        ('{"password": "j"}', {"password": "j"}),
        ('{\n\t"password": "j",\n\t"n": 5\n}', {"password": "j", "n": None}),
        *(
            (f"password: {word}\n", {"password": None})
            for word in ("12345", "1e3", "true", "~", "", "2026-11-23", "[x]")
        ),
    ],
)
def test_secret_files(text: str, found: dict[str, str | None]) -> None:
    assert _adr030_read.read_secrets(text) == found


@pytest.mark.parametrize("text", ["just-this", "- a\n", "[a", '"a"', "\t[1]"])
def test_what_is_no_secret_file(text: str) -> None:
    with pytest.raises(Malformed, match="no mapping in YAML or JSON"):
        _adr030_read.read_secrets(text)
