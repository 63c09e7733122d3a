-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

-- pgcrypto hashes a correlation id into the key of its lock; uuid-ossp is only looked for, by those who know v1.
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

-- +goose Down

-- The extensions stay: they may have been there before, and others may use them.
SELECT 1;
