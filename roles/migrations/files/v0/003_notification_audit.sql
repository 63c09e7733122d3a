-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

CREATE TABLE notification_audit (
    id bigserial PRIMARY KEY,
    remediation_id varchar(255) NOT NULL,
    notification_id varchar(255) NOT NULL UNIQUE,
    recipient varchar(255) NOT NULL,
    channel varchar(50) NOT NULL CHECK (channel IN ('email', 'slack', 'pagerduty', 'sms')),
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
CREATE INDEX idx_notification_audit_created_at ON notification_audit (created_at DESC);

-- +goose Down

DROP TABLE notification_audit;
