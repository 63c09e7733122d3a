-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

-- The columns by which an action is found and counted; the reference service does not write here.
CREATE TABLE resource_action_traces (
    id bigserial,
    action_id varchar(64) NOT NULL,
    correlation_id varchar(64),
    action_timestamp timestamptz NOT NULL,
    action_type varchar(50) NOT NULL,
    action_parameters jsonb,
    signal_name varchar(200) NOT NULL,
    signal_severity varchar(20) NOT NULL,
    execution_status varchar(20) DEFAULT 'pending',
    execution_error text,
    effectiveness_score numeric(4, 3),
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    PRIMARY KEY (id, action_timestamp),
    UNIQUE (action_id, action_timestamp)
) PARTITION BY RANGE (action_timestamp);

CREATE INDEX idx_rat_action_type ON resource_action_traces (action_type, action_timestamp);
CREATE INDEX idx_rat_correlation_id ON resource_action_traces (correlation_id) WHERE correlation_id IS NOT NULL;

-- +goose StatementBegin
DO $$
BEGIN
    PERFORM ensure_monthly_partitions('resource_action_traces', '"y"YYYY"m"MM', 'timestamptz');
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE resource_action_traces;
