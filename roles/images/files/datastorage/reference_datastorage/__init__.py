# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference DataStorage service: contract v0 of kubernaut's audit store on a real PostgreSQL and a real Redis."""
