-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE widget_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    widget bigint NOT NULL REFERENCES widgets (id),
    happened date NOT NULL,
    PRIMARY KEY (id, happened)
) PARTITION BY RANGE (happened);
