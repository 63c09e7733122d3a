# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contracts by name. PRIVATE to the collection.

What differs between generations of DataStorage is data in one file each; a new one is another file, and a row here.
"""

from __future__ import annotations

from typing import Mapping

from ansible_collections.kubernaut.integration.plugins.module_utils import _contract_v0, _contract_v1
from ansible_collections.kubernaut.integration.plugins.module_utils._contract import Contract

CONTRACTS: Mapping[str, Contract] = {"v0": _contract_v0.CONTRACT, "v1": _contract_v1.CONTRACT}
