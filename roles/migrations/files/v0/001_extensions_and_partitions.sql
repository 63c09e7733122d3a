-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

-- The reference service needs no extension; those who look at a v0 database expect this one.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

-- Creates the monthly partitions of a table from the previous month, because events up to seven days old are accepted,
-- to three months ahead, leaving alone those that exist. Months begin in UTC whatever the session's time zone is.
-- name_format is the to_char pattern of a partition's suffix; key_type is the type of the partition key.
-- +goose StatementBegin
CREATE FUNCTION ensure_monthly_partitions(parent regclass, name_format text, key_type regtype)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    month timestamp;
    bounds text[];
BEGIN
    FOR month IN SELECT generate_series(this_month - interval '1 month', this_month + interval '3 months', '1 month') LOOP
        bounds := ARRAY[
            to_char(month, 'YYYY-MM-DD'),
            to_char(month + interval '1 month', 'YYYY-MM-DD')
        ];
        IF key_type = 'timestamptz'::regtype THEN
            bounds := ARRAY[bounds[1] || ' 00:00:00+00', bounds[2] || ' 00:00:00+00'];
        END IF;
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
            parent || '_' || to_char(month, name_format), parent, bounds[1], bounds[2]
        );
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP FUNCTION ensure_monthly_partitions(regclass, text, regtype);
-- The extension stays: it may have been there before, and others may use it.
