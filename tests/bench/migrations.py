# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger costs: 200 files, beside one psql that is fed with them, and a run that finds all of them applied.

Then how long it takes to bring such a database back from its template, beside PostgreSQL's own copy of it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))

import psycopg  # noqa: E402
from psycopg import sql  # noqa: E402

from ansible_collections.kubernaut.integration.plugins.module_utils import (  # noqa: E402
    _migrations,
    _sql_files,
    _template,
)
from ansible_collections.kubernaut.integration.plugins.module_utils._phase import Context  # noqa: E402
from ansible_collections.kubernaut.integration.tests.live import corpus  # noqa: E402

FILES = 200
ROUNDS = 9
#: Times of psql's time that the files may take, and seconds that finding them applied may take.
APPLIES, FINDS = 1.5, 0.5
#: Times of the server's own copying and dropping that bringing a database back may take.
RESTORES = 4.0
#: psql in the server's own container, timed there, so that podman's own half second does not count.
PSQL = 'b=$(date +%s%N); psql -qX -v ON_ERROR_STOP=1 -o /dev/null "$1" && echo $(($(date +%s%N) - b))'


def psql(stack: dict, password: str, database: str, text: str) -> float:
    """Feed one psql with everything; return its seconds."""
    address = f"postgresql://{stack['postgres']['user']}@127.0.0.1/{database}"
    done = subprocess.run(
        [
            *(stack["podman"], "exec", "--interactive", "--env", "PGPASSWORD", stack["postgres"]["container"]),
            *("sh", "-c", PSQL, "sh", address),
        ],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PGPASSWORD": password},
    )
    return int(done.stdout.split()[-1]) / 1e9


def measure(stack: dict, password: str) -> bool:
    """Measure on databases of their own, print a table, and tell whether all limits hold."""
    options: dict[str, Any] = {
        **{name: option.get("default") for name, option in _migrations.PHASE.argument_spec.items()},
        "postgres_port": stack["postgres"]["port"],
        "postgres_user": stack["postgres"]["user"],
        "postgres_password": password,
    }
    texts = corpus.plain(FILES)
    fed, applied, found, travelled, copied, restored = [], [], [], [], [], []
    with (
        tempfile.TemporaryDirectory() as directory,
        psycopg.connect(
            host="127.0.0.1",
            port=options["postgres_port"],
            user=options["postgres_user"],
            password=password,
            dbname="postgres",
            autocommit=True,
        ) as admin,
    ):
        options["directory"] = str(corpus.write(Path(directory), texts))
        # psql runs everything, so it must not get the Down parts.
        whole = "".join(migration.sql for migration in _sql_files.parse(_sql_files.read_directory(directory)))
        for _round in range(ROUNDS):
            name = "bench_" + uuid.uuid4().hex[:12]
            database = sql.Identifier(name)
            admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
            fed.append(psql(stack, password, name, whole))
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(database))
            run = {**options, "postgres_database": name}
            for times, files in ((applied, None), (found, None), (travelled, _sql_files.split_files)):
                begun = time.monotonic()
                given = {"files": files(_sql_files.read_directory(directory))} if files else {}
                result = _migrations.run({**run, **given}, Context())
                times.append(time.monotonic() - begun)
                if len(result["applied"]) != (FILES if times is applied else 0):
                    raise AssertionError(f"{len(result['applied'])} files were applied")
            keeping = {**run, "state": "kept", "fresh": True}
            template = _template.run(keeping, Context())["template"]
            begun = time.monotonic()
            copy = sql.Identifier(name + "_copy")
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, sql.Identifier(template)))
            admin.execute(sql.SQL("DROP DATABASE {}").format(copy))
            copied.append(time.monotonic() - begun)
            begun = time.monotonic()
            _template.run({**keeping, "state": "restored"}, Context())
            restored.append(time.monotonic() - begun)
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
            admin.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(template)))
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(template)))
    # Of pairs, as the machine's speed drifts from round to round.
    factor = statistics.median(mine / psqls for mine, psqls in zip(applied, fed, strict=True))
    finding = max(statistics.median(found), statistics.median(travelled))
    print(
        f"{FILES} migrations             {statistics.median(applied):.2f} s, {factor:.2f} times psql's"
        f" {statistics.median(fed):.2f} s; the limit is {APPLIES} times: {'met' if factor <= APPLIES else 'MISSED'}\n"
        f"{FILES} migrations found applied {statistics.median(found):.3f} s, cut for a target"
        f" {statistics.median(travelled):.3f} s; the limit is {FINDS} s: {'met' if finding <= FINDS else 'MISSED'}"
    )
    bringing = statistics.median(restored) / statistics.median(copied)
    verdict = "met" if bringing <= RESTORES else "MISSED"
    print(
        f"reset from a template      {statistics.median(restored):.2f} s, {bringing:.2f} times the server's own copy"
        f" {statistics.median(copied):.2f} s; the limit is {RESTORES} times: {verdict}"
    )
    return factor <= APPLIES and finding <= FINDS and bringing <= RESTORES
