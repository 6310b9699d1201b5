-- When a row was noted as tried, and why a parked one is.
ALTER TABLE outbox ADD COLUMN tried BIGINT NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN detail TEXT NOT NULL DEFAULT '';

-- Rows that are noted as tried already were so when they came, or soon after.
UPDATE outbox SET tried = queued WHERE state = 1;
