-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE widgets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
