-- SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
-- SPDX-License-Identifier: GPL-3.0-or-later

-- +goose Up

-- The date is the event's day in UTC, whatever the session's time zone is.
-- +goose StatementBegin
CREATE FUNCTION set_audit_event_date() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.event_date := (NEW.event_timestamp AT TIME ZONE 'UTC')::date;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- The key of the advisory lock under which one correlation id's chain grows: the first eight bytes of its hash.
-- +goose StatementBegin
CREATE FUNCTION audit_event_lock_id(correlation_id_param text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ('x' || left(encode(digest(correlation_id_param, 'sha256'), 'hex'), 16))::bit(64)::bigint
$$;
-- +goose StatementEnd

-- What an event says is never changed; what is decided about it later (retention, legal hold) is.
-- +goose StatementBegin
CREATE FUNCTION refuse_audit_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit event % is immutable', OLD.event_id USING ERRCODE = 'integrity_constraint_violation';
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION refuse_held_audit_event_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.legal_hold THEN
        RAISE EXCEPTION 'audit event % of % is under legal hold', OLD.event_id, OLD.correlation_id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER trg_set_audit_event_date
BEFORE INSERT ON audit_events
FOR EACH ROW EXECUTE FUNCTION set_audit_event_date();

CREATE TRIGGER trg_audit_events_immutable
BEFORE UPDATE OF
    event_timestamp, event_type, event_category, event_action, event_outcome,
    correlation_id, actor_id, event_data, event_hash, previous_event_hash
ON audit_events
FOR EACH ROW EXECUTE FUNCTION refuse_audit_event_change();

CREATE TRIGGER trg_audit_events_legal_hold
BEFORE DELETE ON audit_events
FOR EACH ROW EXECUTE FUNCTION refuse_held_audit_event_removal();

-- +goose Down

DROP TRIGGER trg_audit_events_legal_hold ON audit_events;
DROP TRIGGER trg_audit_events_immutable ON audit_events;
DROP TRIGGER trg_set_audit_event_date ON audit_events;
DROP FUNCTION refuse_held_audit_event_removal();
DROP FUNCTION refuse_audit_event_change();
DROP FUNCTION audit_event_lock_id(text);
DROP FUNCTION set_audit_event_date();
