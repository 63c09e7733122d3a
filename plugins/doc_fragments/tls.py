# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that asks DataStorage's API."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  datastorage_tls:
    description: Whether DataStorage's API speaks TLS, with a certificate that is trusted and for C(datastorage_host).
    type: bool
    default: false
  datastorage_ca_file:
    description: PEM file on the target with the certificate to trust; empty for what the target trusts anyway.
    type: str
    default: ''
"""
