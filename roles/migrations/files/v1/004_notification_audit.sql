-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

-- The reference service does not write here; those who look at a v1 database expect the table.
CREATE TABLE notification_audit (
    id bigserial PRIMARY KEY,
    notification_id varchar(255) NOT NULL UNIQUE,
    remediation_id varchar(255) NOT NULL,
    recipient varchar(255) NOT NULL,
    channel varchar(50) NOT NULL CHECK (channel IN ('email', 'slack', 'pagerduty', 'sms', 'teams')),
    message_summary text NOT NULL,
    status varchar(50) NOT NULL CHECK (status IN ('sent', 'failed', 'acknowledged', 'escalated')),
    sent_at timestamptz NOT NULL,
    delivery_status text,
    error_message text,
    escalation_level integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX idx_notification_audit_remediation_id ON notification_audit (remediation_id);

-- +goose Down

DROP TABLE notification_audit;
