-- Rows as an older worker left them. Only rows that need it are touched.

DO $$
BEGIN
    ALTER TABLE conversation_events VALIDATE CONSTRAINT conversation_events_known_status;
EXCEPTION WHEN check_violation THEN
    -- A row must stay writable, so that a log can be parked in it; `check --invariants` counts the odd ones.
    RAISE WARNING 'conversation_events holds rows with an unknown status: they stay, and the status goes unchecked';
    ALTER TABLE conversation_events DROP CONSTRAINT conversation_events_known_status;
END
$$;

UPDATE conversation_events SET attempt_count = 0 WHERE attempt_count IS NULL;
UPDATE conversation_events SET created_at = now() WHERE created_at IS NULL;
UPDATE conversation_events SET updated_at = created_at WHERE updated_at IS NULL;
UPDATE conversation_events SET status = 'PENDING' WHERE status IS NULL;

-- Its holder may be alive until the old worker is stopped: nobody's before this.
UPDATE conversation_events SET lease_until = clock_timestamp() + interval '30 minutes'
 WHERE status = 'PROCESSING' AND lease_until IS NULL;

-- A PENDING row without a time would be forgotten if its message were lost.
UPDATE conversation_events SET next_attempt_at = clock_timestamp() + interval '10 minutes'
 WHERE status = 'PENDING' AND next_attempt_at IS NULL;

UPDATE friendship_status SET friendship_score = 0 WHERE friendship_score IS NULL;
UPDATE friendship_status SET friendship_level = 'PHASE1_STRANGER' WHERE friendship_level IS NULL;
UPDATE friendship_status SET topic_metrics = '{}' WHERE topic_metrics IS NULL;
