# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of texts that somebody else will read. PRIVATE to the collection.

Two ways, because neither is enough: a secret whose value is known goes wherever it stands and however it is written;
one whose value is not known goes where its name says what it is.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Pattern, Tuple
from urllib.parse import quote

from ansible_collections.kubernaut.integration.plugins.module_utils._files import MASK

#: Values that are as short as this are no secrets: masking them would mask everything.
SHORT = 3

#: ``NAME=value`` as in an environment or behind ``--env``, but not the name of a file that holds the secret.
_VARIABLE = re.compile(
    r"^((?:--env=|-e)?\w*(?:(?:PASSWORD|PASSWD|SECRET|TOKEN|KEY)\w*(?<!_FILE)|AUTH)=).+", re.IGNORECASE | re.DOTALL
)
#: Where the value begins of a name that speaks of a secret, but not of where to find one (passwordKey, secretsFile,
#: *_FILE): in YAML, JSON, ``name value`` or ``name=value``, in a line of its own or in a mapping on one line.
_ENTRY = re.compile(
    r"""(?P<lead>^[ \t]*(?:(?:-|export)[ \t]+)*|[{,][ \t]*)(?P<quote>["']?)"""
    r"""(?:[\w.-]*(?:pass|secret|token|authorization)[\w.-]*(?<!Key)(?<!File)|[\w.-]*(?:auth|(?:api|hmac)[_-]?key))"""
    r"""(?P=quote)(?P<mark>[ \t]*[:=][ \t]*|[ \t]+)""",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""", re.DOTALL)
_IN_FLOW = re.compile(r"[^,}\]\n]*")
_REST = re.compile(r".*")
_NEXT = re.compile(r"\n(?P<indent>[ \t]*)(?P<text>.*)")
#: What YAML has in front of a value, how it begins one of several lines, a comment, and how a mapping's line begins.
_PROPERTIES = re.compile(r"(?:[!&]\S*[ \t]+)+")
_BLOCK = re.compile(r"[|>][-+0-9]*")
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*$")
_KEY = re.compile(r"[^\s#\"']+[ \t]*:(?:\s|$)")
_ITEM = re.compile(r"(?:-[ \t]+)*")
#: Switches and nothing are no secrets: to mask ``false`` would mask it everywhere.
_NO_SECRET = re.compile(r"|true|false|yes|no|on|off|none|null|~", re.IGNORECASE)
#: The password in an address: everything up to the last ``@``.
_LOGIN = re.compile(r"(://[^\s/:@\"']*:)[^\s/\"']+(?=@)")


class Mask:
    """Replaces secrets in texts, also where they are written in base64, in a URL or in JSON.

    :param secrets: their values; short ones are left alone.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        wanted = sorted({secret for secret in secrets if len(secret) > SHORT}, key=len, reverse=True)
        forms = [form for secret in wanted for form in (_spelled(secret), *_in_base64(secret))]
        self._pattern = re.compile("|".join(forms)) if forms else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        text = _LOGIN.sub(r"\1" + MASK, text)
        return self._pattern.sub(MASK, text) if self._pattern else text


def _spelled(secret: str) -> str:
    """Return a pattern for a secret of which any character may be escaped, as in a URL or in JSON."""
    pattern = ""
    for character in secret:
        percent = "".join("%%%02x" % byte for byte in character.encode("utf-8"))
        forms = {character, quote(character, safe=""), percent, percent.upper(), json.dumps(character)[1:-1]}
        forms |= {"\\u%04x" % ord(character), "\\u%04X" % ord(character)} | ({"+"} if character == " " else set())
        pattern += "(?:%s)" % "|".join(re.escape(form) for form in sorted(forms))
    return pattern


def _in_base64(secret: str) -> Iterator[str]:
    """Yield patterns for a secret within a longer text in base64, where it may begin at any byte of a group of three.

    A character that holds bits of a neighbour, too, differs from text to text.
    """
    data = secret.encode("utf-8")
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode("ascii")
        whole = text[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        for core in sorted({whole, whole.replace("+", "-").replace("/", "_")}):
            yield "%s%s%s" % (
                r"[\w+/-]" if before else "",
                re.escape(core),
                r"(?:[\w+/-]={0,2})?" if (before + len(data)) % 3 else "",
            )


def _values(text: str) -> Iterator[Tuple[int, int, List[str]]]:
    """Yield where the values in a file begin and end whose names speak of a secret, and their lines in clear."""
    entry = _ENTRY.search(text)
    while entry:
        begin = end = entry.end()
        in_yaml, in_flow = ":" in entry["mark"], entry["lead"][:1] in ("{", ",")
        quoted = _QUOTED.match(text, begin) if in_yaml else None
        if quoted:
            end = quoted.end()
        elif in_yaml and in_flow:
            end += _length(_IN_FLOW, text, begin)
        else:
            end += _length(_REST, text, begin)
            end = _deeper(text, end, len(entry["lead"]), text[begin:end]) if in_yaml else end
        value = text[begin:end].strip()
        lines = _lines(value, in_yaml)
        if lines:
            begin = text.index(value, begin)
            yield begin, begin + len(value), lines
        entry = _ENTRY.search(text, end if lines else entry.end())


def _length(pattern: Pattern[str], text: str, at: int) -> int:
    """Return how long what a pattern finds at a place is."""
    found = pattern.match(text, at)
    return len(found[0]) if found else 0


def _deeper(text: str, end: int, column: int, first: str) -> int:
    """Return where a value in YAML ends: lines that stand deeper than its name go on with it.

    :param end: end of the name's line; likewise ``column``, where the name begins.
    :param first: the value in the name's line. Where there is none, what follows may be a mapping, which is no value.
    """
    begun = bool(_COMMENT.sub("", first))
    for line in _NEXT.finditer(text, end):
        if line["text"].strip():
            if len(line["indent"]) <= column or (not begun and _KEY.match(line["text"])):
                break
            begun = True
        end = line.end()
    return end


def _lines(value: str, in_yaml: bool) -> List[str]:
    """Return the lines of a value without what belongs to the file's language; none where it is no secret."""
    if in_yaml and _QUOTED.fullmatch(value):
        if value[0] == '"':
            with suppress(ValueError):
                value = str(json.loads(value, strict=False))
        else:
            value = value[1:-1].replace("''", "'")
    elif in_yaml:
        first, newline, rest = value.partition("\n")
        first = _PROPERTIES.sub("", _COMMENT.sub("", first), count=1)
        value = ("" if _BLOCK.fullmatch(first) else first) + newline + rest
    lines = [_ITEM.sub("", line.strip(), count=1).strip("\"'") for line in value.splitlines()]
    return [line for line in lines if not _NO_SECRET.fullmatch(line)]


def secrets_in(text: str) -> List[str]:
    """Return the values in a file, in YAML, JSON, ``name value`` or ``name=value``, whose names speak of a secret.

    Of a value of several lines, each is one.
    """
    return [line for _begin, _end, lines in _values(text) for line in lines]


def shown(text: str) -> str:
    """Return a file with those values masked."""
    parts, at = [], 0
    for begin, end, _found in _values(text):
        parts += [text[at:begin], MASK]
        at = end
    return "".join((*parts, text[at:]))


def shown_settings(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Return settings by name with those values masked; an empty one is no secret."""
    return {name: MASK if secrets_in("%s=%s" % (name, value)) else value for name, value in settings.items()}


def shown_container(container: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a container's inspect with the values of variables masked whose names speak of secrets."""
    config = dict(container["Config"])
    for key in ("Env", "CreateCommand"):
        config[key] = [_VARIABLE.sub(r"\1" + MASK, entry) for entry in config.get(key) or []]
    return {**container, "Config": config}
