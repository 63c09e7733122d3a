-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

CREATE TABLE audit_events (
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    event_date date NOT NULL,
    event_timestamp timestamptz NOT NULL DEFAULT now(),
    event_version varchar(10) NOT NULL DEFAULT '1.0',
    event_type varchar(100) NOT NULL,
    event_category varchar(50) NOT NULL,
    event_action varchar(50) NOT NULL,
    event_outcome varchar(20) NOT NULL,
    correlation_id varchar(255) NOT NULL,
    parent_event_id uuid,
    parent_event_date date,
    actor_type varchar(50) NOT NULL,
    actor_id varchar(255) NOT NULL,
    actor_ip inet,
    resource_type varchar(100) NOT NULL,
    resource_id varchar(255) NOT NULL,
    resource_name varchar(255),
    namespace varchar(253),
    cluster_id varchar(255),
    trace_id varchar(255),
    span_id varchar(255),
    severity varchar(20),
    duration_ms integer,
    error_code varchar(50),
    error_message text,
    event_data jsonb NOT NULL,
    event_metadata jsonb,
    retention_days integer DEFAULT 2555,
    is_sensitive boolean DEFAULT false,
    event_hash text,
    previous_event_hash text,
    hash_algorithm varchar(20) NOT NULL DEFAULT 'sha256-unkeyed',
    legal_hold boolean DEFAULT false,
    legal_hold_reason text,
    legal_hold_placed_by text,
    legal_hold_placed_at timestamptz,
    PRIMARY KEY (event_id, event_date),
    CONSTRAINT chk_retention_days_range CHECK (retention_days BETWEEN 1 AND 2555),
    CONSTRAINT fk_audit_events_parent FOREIGN KEY (parent_event_id, parent_event_date)
    REFERENCES audit_events (event_id, event_date) ON DELETE RESTRICT
) PARTITION BY RANGE (event_date);

-- A chain is read in this order, and its newest event is looked up at every write.
CREATE INDEX idx_audit_events_chain ON audit_events (correlation_id, event_timestamp DESC, event_id DESC);
CREATE INDEX idx_audit_events_event_timestamp ON audit_events (event_timestamp DESC);
CREATE INDEX idx_audit_events_event_type ON audit_events (event_type, event_timestamp DESC);
CREATE INDEX idx_audit_events_category ON audit_events (event_category, event_timestamp DESC);
CREATE INDEX idx_audit_events_resource ON audit_events (resource_type, resource_id);
CREATE INDEX idx_audit_events_actor ON audit_events (actor_type, actor_id);
CREATE INDEX idx_audit_events_cluster_id ON audit_events (cluster_id) WHERE cluster_id IS NOT NULL;
CREATE INDEX idx_audit_events_event_hash ON audit_events (event_hash) WHERE event_hash IS NOT NULL;
CREATE INDEX idx_audit_events_legal_hold ON audit_events (correlation_id) WHERE legal_hold;
CREATE INDEX idx_audit_events_event_data ON audit_events USING gin (event_data);

-- The service makes the current month's partition and the next three at every start. Those of its first start are made
-- here, with last month's, because events up to seven days old are accepted; a month begins in UTC.
-- +goose StatementBegin
DO $$
DECLARE
    first date;
BEGIN
    FOR ahead IN -1..3 LOOP
        first := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead);
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
            'audit_events_' || to_char(first, 'YYYY_MM'), first, first + interval '1 month'
        );
    END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE audit_events;
