-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

CREATE TABLE audit_events (
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    event_version varchar(10) NOT NULL DEFAULT '1.0',
    event_timestamp timestamptz NOT NULL DEFAULT now(),
    event_date date NOT NULL,
    event_type varchar(100) NOT NULL,
    event_category varchar(50) NOT NULL,
    event_action varchar(50) NOT NULL,
    event_outcome varchar(20) NOT NULL,
    actor_type varchar(50) NOT NULL,
    actor_id varchar(255) NOT NULL,
    actor_ip inet,
    resource_type varchar(100) NOT NULL,
    resource_id varchar(255) NOT NULL,
    resource_name varchar(255),
    correlation_id varchar(255) NOT NULL,
    parent_event_id uuid,
    parent_event_date date,
    trace_id varchar(255),
    span_id varchar(255),
    namespace varchar(253),
    cluster_name varchar(255),
    event_data jsonb NOT NULL,
    event_metadata jsonb,
    severity varchar(20),
    duration_ms integer,
    error_code varchar(50),
    error_message text,
    retention_days integer DEFAULT 2555,
    is_sensitive boolean DEFAULT false,
    PRIMARY KEY (event_id, event_date)
) PARTITION BY RANGE (event_date);

-- The date is the event's day in UTC. The session's day would send events near midnight to another partition than the
-- one PostgreSQL has already chosen, which it refuses.
-- +goose StatementBegin
CREATE FUNCTION set_audit_event_date()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.event_date := (NEW.event_timestamp AT TIME ZONE 'UTC')::date;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER trg_set_audit_event_date
BEFORE INSERT ON audit_events
FOR EACH ROW EXECUTE FUNCTION set_audit_event_date();

ALTER TABLE audit_events
ADD CONSTRAINT fk_audit_events_parent
FOREIGN KEY (parent_event_id, parent_event_date) REFERENCES audit_events (event_id, event_date) ON DELETE RESTRICT;

CREATE INDEX idx_audit_events_event_timestamp ON audit_events (event_timestamp DESC);
CREATE INDEX idx_audit_events_correlation_id ON audit_events (correlation_id, event_timestamp DESC);
CREATE INDEX idx_audit_events_event_type ON audit_events (event_type, event_timestamp DESC);
CREATE INDEX idx_audit_events_resource ON audit_events (resource_type, resource_id, event_timestamp DESC);
CREATE INDEX idx_audit_events_actor ON audit_events (actor_type, actor_id, event_timestamp DESC);
CREATE INDEX idx_audit_events_outcome ON audit_events (event_outcome, event_timestamp DESC);
CREATE INDEX idx_audit_events_event_date ON audit_events (event_date);
CREATE INDEX idx_audit_events_event_data_gin ON audit_events USING gin (event_data);

-- +goose StatementBegin
DO $$
BEGIN
    PERFORM ensure_monthly_partitions('audit_events', 'YYYY_MM', 'date');
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP TABLE audit_events;
DROP FUNCTION set_audit_event_date();
