-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

-- What identifies a workflow and says whether it may be used; the reference service does not read or write here.
CREATE TABLE remediation_workflow_catalog (
    workflow_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_name varchar(255) NOT NULL,
    version varchar(50) NOT NULL,
    name varchar(255) NOT NULL,
    description text NOT NULL,
    content text NOT NULL,
    content_hash varchar(64) NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    status varchar(20) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'deprecated', 'archived')),
    status_reason text,
    is_latest_version boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_workflow_name_version UNIQUE (workflow_name, version)
);

CREATE INDEX idx_workflow_catalog_status ON remediation_workflow_catalog (status);
CREATE INDEX idx_workflow_catalog_labels ON remediation_workflow_catalog USING gin (labels);

-- +goose Down

DROP TABLE remediation_workflow_catalog;
