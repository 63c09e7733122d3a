# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as DataStorage reads it, with lines and columns. PRIVATE to the collection.

The service's decoder is Go's yaml.v3, which differs from PyYAML in what a word without quotes is (``yes`` is text,
``1e3`` a number), refuses a key that is there twice, and reads the first document only. It decodes into typed fields:
text takes any scalar as it is written, a number takes no quotes.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

if TYPE_CHECKING:
    import yaml

_TAG = "tag:yaml.org,2002:"

#: Kinds of keys, which are also types of module options.
INT, TEXT, BOOL, FLOAT, LIST = "int", "str", "bool", "float", "list"
#: What a field holds that the file does not set; the service cannot tell it from a key that was set to just that.
ZERO: Dict[str, Any] = {INT: 0, TEXT: "", BOOL: False, FLOAT: 0.0, LIST: []}

_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "bool"),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), "null"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), "float"),
    **dict.fromkeys((sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")), "float"),
    "<<": "merge",
}
_INT = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
#: More than one character in quotes, but for the parser's own names of things.
_QUOTED = re.compile(r" (['\"])(?!<)(?:(?!\1).){2,}\1")
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:(?:(?P<zoned>[Tt])| )"
    r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.[0-9]+)?(?(zoned)(?:Z|[+-][0-9]{2}:[0-9]{2})))?"
)
#: What a switch takes beside true and false, with quotes or without.
_SWITCH = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
}


class Malformed(Exception):
    """Text is no YAML, or YAML that the service refuses.

    :param line: where, counted from 1; likewise ``column``.
    :param reason: why, in one line, without any of the text.
    """

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.column, self.reason = line, column, reason


class Mismatch(Exception):
    """A value has the wrong type for its key; the text says what was found and what is wanted."""


@dataclass(frozen=True)
class Entry:
    """A key of a mapping and its value.

    :param path: where it is, with dots; a dot of a key's own is shown as ``·``.
    :param key: node of the key; likewise ``value``.
    """

    path: str
    key: yaml.ScalarNode
    value: yaml.Node

    @property
    def place(self) -> Tuple[int, int]:
        """Line and column of the key, counted from 1."""
        return place(self.key)


def place(node: yaml.Node) -> Tuple[int, int]:
    """Return line and column of a node, counted from 1."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def type_of(word: str) -> str:
    """Return what a word without quotes is to the service: ``str``, ``int``, ``float``, ``bool``, ``null``, ..."""
    if word in _WORDS:
        return _WORDS[word]
    if word[0] == ".":
        return "float" if _FLOAT.fullmatch(word) else "str"
    if word[0] not in "+-0123456789":
        return "str"
    if _is_moment(word):
        return "timestamp"
    plain = word.replace("_", "")
    if _INT.fullmatch(plain) and -(2**63) <= _integer(plain) < 2**64:
        return "int"
    return "float" if _FLOAT.fullmatch(plain) and math.isfinite(float(plain)) else "str"


def _is_moment(word: str) -> bool:
    """Tell whether the calendar and the clock have such a moment; what only looks like one is text."""
    found = _MOMENT.fullmatch(word)
    if not found:
        return False
    try:
        datetime.date(*(int(part) for part in found.group(1, 2, 3)))
        hour, minute, second = (int(part or 0) for part in found.group(5, 6, 7))
        datetime.time(hour, minute, second)
    except ValueError:
        return False
    return True


def _integer(word: str) -> int:
    """Return the number that a word of type ``int`` is; a leading zero means octal."""
    plain = word.replace("_", "")
    octal = re.sub(r"^([+-]?)0(?=[0-7])", r"\g<1>0o", plain)
    return int(octal, 0)


def _float(word: str) -> float:
    """Return the number that a word of type ``float`` is; YAML writes infinity with a dot."""
    return float(re.sub(r"^([+-]?)\.(?=[ni])", r"\1", word.lower().replace("_", "")))


def _said(reason: str) -> str:
    """Return what the parser says without the words of the file that it quotes: one may be a password."""
    return _QUOTED.sub("", " ".join(reason.split()))


def first_document(text: str) -> Tuple[Optional[yaml.Node], Optional[int]]:
    """Return the root of the first document (None when there is nothing in it), and the line where a second one begins.

    :raises Malformed: it is no YAML.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Gives words without quotes the types that the service gives them."""

        def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
            if kind is yaml.ScalarNode and implicit[0]:
                return _TAG + type_of(value)
            return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]

    try:
        # The reader looks at all characters at once, so it fails here rather than below.
        loader = Loader(text)
        try:
            root = loader.get_node() if loader.check_node() else None
            second = None
            if loader.check_node():
                second = loader.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is no YAML"
        raise Malformed(line, column, _said(str(reason))) from None
    return root, second


def entries(node: Optional[yaml.Node], path: str = "", within: Tuple[yaml.Node, ...] = ()) -> List[Entry]:
    """Return the keys of a mapping, those that it merges in (``<<``) last and only where it does not have them itself.

    Whatever is no mapping has none.

    :param path: where the mapping is.
    :param within: mappings that are being merged into.
    :raises Malformed: a key is there twice, or a mapping merges itself.
    """
    import yaml

    if not isinstance(node, yaml.MappingNode):
        return []
    if any(node is outer for outer in within):
        raise Malformed(*place(node), "an anchor's value contains itself")
    own: Dict[str, Entry] = {}
    merged: List[yaml.Node] = []
    for key, value in node.value:
        if key.tag == _TAG + "merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        elif isinstance(key, yaml.ScalarNode):
            name = str(key.value).replace(".", "·")
            entry = Entry("%s.%s" % (path, name) if path else name, key, value)
            if key.value in own:
                message = "mapping key %r already defined at line %d" % (key.value, own[key.value].place[0])
                raise Malformed(*entry.place, message)
            own[key.value] = entry
    for other in merged:
        for entry in entries(other, path, (*within, node)):
            own.setdefault(entry.key.value, entry)
    return list(own.values())


def is_mapping(node: Optional[yaml.Node]) -> bool:
    """Tell whether a node is a mapping."""
    import yaml

    return isinstance(node, yaml.MappingNode)


def is_null(node: yaml.Node) -> bool:
    """Tell whether a node is null, which the service cannot tell from a key that is not there."""
    return bool(node.tag == _TAG + "null")


def decode(node: yaml.Node, kind: str) -> Any:
    """Return a value as a field of ``kind`` takes it; null is the zero value.

    :raises Mismatch: the field does not take it.
    """
    import yaml

    if is_null(node):
        return ZERO[kind]
    if kind == LIST:
        if not isinstance(node, yaml.SequenceNode):
            raise _mismatch(node, kind)
        return [decode(item, TEXT) for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise _mismatch(node, kind)
    if kind == TEXT:
        return str(node.value)
    found = node.tag[len(_TAG) :]
    if kind == BOOL and found == "bool":
        return node.value.lower() == "true"
    if kind == BOOL and found == "str" and node.value in _SWITCH:
        return _SWITCH[node.value]
    if kind in (INT, FLOAT) and found in ("int", "float"):
        number = _integer(node.value) if found == "int" else _float(node.value)
        if kind == FLOAT:
            return float(number)
        if -(2**63) <= number < 2**63:
            return int(number)
    raise _mismatch(node, kind)


def _mismatch(node: yaml.Node, kind: str) -> Mismatch:
    """Return the failure, which does not quote the value: it may be a secret in the wrong place."""
    wanted = "a whole number" if kind == INT else _ARTICLES[kind]
    return Mismatch("is %s and must be %s" % (described(node), wanted))


_ARTICLES = {
    INT: "a number",
    TEXT: "text",
    BOOL: "true or false",
    FLOAT: "a number",
    LIST: "a list",
    "map": "a mapping",
    "null": "nothing",
    "timestamp": "a date",
}


def kind_of(node: yaml.Node) -> str:
    """Return what a node is: ``map``, ``list``, or the type of a scalar such as ``int``."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        return "map"
    if isinstance(node, yaml.SequenceNode):
        return LIST
    return str(node.tag[len(_TAG) :]) if node.tag.startswith(_TAG) else TEXT


def described(node: yaml.Node) -> str:
    """Return the same in words."""
    return _ARTICLES.get(kind_of(node), kind_of(node))
