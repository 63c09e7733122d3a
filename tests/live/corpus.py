# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated migrations: what upstream's files do, without being upstream's files."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path

#: Words that a naive reader of SQL stumbles over, as upstream's comments and texts have them.
TRAPS = (
    "-- COMMIT; this is only said",
    "/* CREATE INDEX CONCURRENTLY x; /* and COMMIT; */ within */",
    "SELECT 'CONCURRENTLY; COMMIT; $$ -- it''s';",
    "-- see goose's Down part; it's not here",
)


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Write files, line ends as they are, and return their directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_bytes(text.encode())
    return directory


PARTITIONS = """-- +goose Up
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS audit_events_2025_11 PARTITION OF audit_events
    FOR VALUES FROM ('2025-11-01') TO ('2025-12-01');
-- +goose StatementEnd
-- +goose Down
-- +goose StatementBegin
DROP TABLE IF NOT EXISTS audit_events_2025_11;
-- +goose StatementEnd
"""

#: Templates: WORD is a table, TAG a dollar tag, ROLE whom they grant to, each TRAP one of the above.
UPSTREAM = {
    "001_%WORD%.sql": """
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
%TRAP%
CREATE TABLE %WORD% (id bigserial PRIMARY KEY, pattern text NOT NULL);
CREATE TABLE traces (id bigserial, at timestamptz NOT NULL, alert text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE traces_y2025m07 PARTITION OF traces FOR VALUES FROM ('2025-07-01') TO ('2025-08-01');
INSERT INTO %WORD% (pattern) VALUES ('scale; up'), ('it''s'), (E'a\\\\b'), (U&'\\00e9 \\+01F600');
GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA public TO %ROLE%;
GRANT ALL PRIVILEGES ON ALL SEQUENCES IN SCHEMA public TO %ROLE%;
""",
    "002_fix.sql": """
%TRAP%
DROP TABLE IF EXISTS traces CASCADE;
CREATE TABLE traces (id bigserial, at timestamptz NOT NULL, alert text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE traces_y2025m08 PARTITION OF traces FOR VALUES FROM ('2025-08-01') TO ('2025-09-01');
CREATE TABLE traces_y2025m09 PARTITION OF traces FOR VALUES FROM ('2025-09-01') TO ('2025-10-01');
INSERT INTO traces (at, alert) VALUES ('2025-08-05', 'first');
""",
    "003_procedures.sql": """
CREATE OR REPLACE FUNCTION %WORD%_count() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;  -- one; two
BEGIN
    EXECUTE $%TAG%$ SELECT count(*) FROM %WORD% WHERE pattern <> ';$' $%TAG%$ INTO found;
    RETURN found;
END;
$$;
%TRAP%
CREATE OR REPLACE FUNCTION %WORD%_nested() RETURNS text LANGUAGE plpgsql AS $%TAG%x$
BEGIN
    RETURN $q$ it's; $$ and $q$ || $$ $q; $$;
END $%TAG%x$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO %ROLE%;
""",
    "004_due.sql": "ALTER TABLE %WORD% ADD COLUMN due timestamptz;  %TRAP%\nCREATE INDEX %WORD%_due ON %WORD% (due);",
    "006_effectiveness.sql": """
%TRAP%
CREATE TABLE IF NOT EXISTS effects (id bigserial PRIMARY KEY, trace bigint);
INSERT INTO effects (trace) SELECT id FROM traces;
CREATE INDEX CONCURRENTLY IF NOT EXISTS effects_trace ON effects (trace);
CREATE INDEX CONCURRENTLY IF NOT EXISTS effects_both ON effects (id, trace);
COMMIT;
""",
    "011_rename.sql": """
ALTER TABLE traces RENAME COLUMN alert TO signal;
DO $$
BEGIN
    RAISE NOTICE 'renamed; done';
END $$;
""",
    "012_columns.sql": """-- what it is for
-- +goose Up
-- +goose StatementBegin
ALTER TABLE traces ADD COLUMN alert text;
%TRAP%
-- +goose StatementEnd
-- +goose Down
ALTER TABLE traces DROP COLUMN alert;
""",
    "013_events.sql": """-- +goose Up
CREATE TABLE audit_events (id uuid NOT NULL DEFAULT gen_random_uuid(), event_date date NOT NULL)
PARTITION BY RANGE (event_date);
DO $$
DECLARE
    month date := date_trunc('month', current_date);
BEGIN
    FOR i IN 0..3 LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
            'audit_events_' || to_char(month + i * interval '1 month', 'YYYY_MM'),
            (month + i * interval '1 month')::date, (month + (i + 1) * interval '1 month')::date);
    END LOOP;
    RAISE NOTICE 'made; % to come', 0;
END $$;
-- +goose StatementBegin
CREATE FUNCTION set_audit_event_date() RETURNS trigger LANGUAGE plpgsql AS $%TAG%$
BEGIN
    NEW.event_date := current_date; RETURN NEW;
END;
$%TAG%$;
-- +goose StatementEnd
CREATE TRIGGER dated BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION set_audit_event_date();
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'nobody_has_this') THEN
        GRANT SELECT ON audit_events TO nobody_has_this;
    END IF;
END $$;
-- +goose StatementEnd
-- +goose Down
DROP TABLE audit_events CASCADE;
""",
    "014_partitions.sql": PARTITIONS,
    "017_fields.sql": "-- +goose Up\nALTER TABLE %WORD% ADD bundle text;\n-- +goose Down\nNO SQL;",
    "018_rename.sql": "-- +goose Up\nALTER TABLE %WORD% RENAME COLUMN bundle TO image;\n%TRAP%\n",
    "019_uuid.sql": """-- +goose Up
ALTER TABLE %WORD% ADD COLUMN name text;
UPDATE %WORD% SET name = id::text;
ALTER TABLE %WORD% DROP COLUMN id;
ALTER TABLE %WORD% ADD COLUMN id uuid NOT NULL DEFAULT uuid_generate_v4() PRIMARY KEY;
""",
    "022_reason.sql": "-- +goose Up\n%TRAP%\nALTER TABLE %WORD% ADD COLUMN reason text;\n",
    "1000_partitions.sql": PARTITIONS,
}


def upstream_like(seed: int, role: str = "slm_user") -> dict[str, str]:
    """Return files with all that is special about those of contract v0.

    Not annotated up to 011, run in the order of numbers with gaps, and made to be run once: again, they would empty a
    table, add rows, bring a column back and give new ids.

    :param role: whom the files grant to, by name.
    """
    chance = random.Random(seed)
    words = {
        "WORD": "".join(chance.choices("abcdefghij", k=6)),
        "TAG": "".join(chance.choices("klmnopqrst_", k=chance.randint(1, 9))),
        "ROLE": role,
    }

    def fill(template: str) -> str:
        return re.sub("%([A-Z]+)%", lambda found: words.get(found[1]) or chance.choice(TRAPS), template)

    files = {fill(name): fill(text) for name, text in UPSTREAM.items()}
    for name in chance.sample(sorted(files), 3):
        files[name] = files[name].replace("\n", "\r\n")
    bom = chance.choice(sorted(files))
    return {name: "\ufeff" * (name == bom) + text for name, text in files.items()}


def plain(count: int) -> dict[str, str]:
    """Return files of the usual kind: tables, columns, indexes, functions, rows."""
    kinds = (
        "CREATE TABLE t{0} (id bigserial PRIMARY KEY, name text NOT NULL, made timestamptz DEFAULT now());\n"
        "CREATE INDEX t{0}_made ON t{0} (made);\n"
        "INSERT INTO t{0} (name) SELECT 'n' || i FROM generate_series(1, 20) i;\n",
        "ALTER TABLE t{1} ADD COLUMN note{0} text;\nUPDATE t{1} SET note{0} = name;\n"
        "ALTER TABLE t{1} ALTER COLUMN note{0} SET NOT NULL;\n",
        "CREATE FUNCTION f{0}() RETURNS bigint LANGUAGE plpgsql AS $$\nBEGIN\n"
        "    RETURN (SELECT count(*) FROM t{1});\nEND;\n$$;\nCOMMENT ON FUNCTION f{0}() IS 'counts; all';\n",
        "DO $$\nBEGIN\n    PERFORM f{2}();\nEND $$;\nINSERT INTO t{1} (name, note{3}) VALUES ('x', 'y');\n",
    )
    files = {}
    for number in range(count):
        first = number - number % len(kinds)
        text = kinds[number % len(kinds)].format(number, first, first + 2, first + 1)
        files[f"{number + 1:03}_file.sql"] = f"-- +goose Up\n{text}\n-- +goose Down\nSELECT 1;\n"
    return files
