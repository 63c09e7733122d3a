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
from typing import Any, Dict, Iterable, Iterator, List, Mapping
from urllib.parse import quote

from ansible_collections.kubernaut.integration.plugins.module_utils._files import MASK

#: Values that are as short as this are no secrets: masking them would mask everything.
SHORT = 3

#: ``NAME=value`` as in an environment or behind ``--env``, but not the name of a file that holds the secret.
_VARIABLE = re.compile(
    r"^((?:--env=|-e)?\w*(?:PASSWORD|PASSWD|SECRET|TOKEN|KEY)\w*(?<!_FILE)=).+", re.IGNORECASE | re.DOTALL
)
#: A line of a file whose name speaks of a secret, but not of where to find one (passwordKey, secretsFile, *_FILE).
_LINE = re.compile(
    r"^(?P<name>[ \t]*[\"']?[\w.-]*(?:pass|secret|token|auth)[\w.-]*(?<!Key)(?<!File)[\"']?(?:[ \t]*[:=]|[ \t])[ \t]*)"
    r"(?P<value>(?![\"']{2}[ \t]*$)\S.*)$",  # an empty one is no secret
    re.IGNORECASE | re.MULTILINE,
)
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


def secrets_in(text: str) -> List[str]:
    """Return the values in a file, in YAML or ``name value`` or ``name=value``, whose names speak of a secret."""
    return [line["value"].strip().strip("\"'") for line in _LINE.finditer(text)]


def shown(text: str) -> str:
    """Return a file with those values masked."""
    return _LINE.sub(r"\g<name>" + MASK, text)


def shown_settings(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Return settings by name with those values masked; an empty one is no secret."""
    return {name: MASK if value and _LINE.match("%s=%s" % (name, value)) else value for name, value in settings.items()}


def shown_container(container: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a container's inspect with the values of variables masked whose names speak of secrets."""
    config = dict(container["Config"])
    for key in ("Env", "CreateCommand"):
        config[key] = [_VARIABLE.sub(r"\1" + MASK, entry) for entry in config.get(key) or []]
    return {**container, "Config": config}
