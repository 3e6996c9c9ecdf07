-- What a message cost, on its event's row. No default, so no table is rewritten, and an INSERT that knows nothing of the
-- columns is right.

ALTER TABLE conversation_events
    ADD COLUMN IF NOT EXISTS body_bytes bigint,
    ADD COLUMN IF NOT EXISTS peak_rss_bytes bigint,
    ADD COLUMN IF NOT EXISTS processing_ms integer;

COMMENT ON COLUMN conversation_events.body_bytes IS
    'Bytes of the message body, or of the stored log that was worked on, at the last outcome.';
COMMENT ON COLUMN conversation_events.peak_rss_bytes IS
    'Highest resident size of a child with the message in hand up to the last outcome, its idle size included.';
COMMENT ON COLUMN conversation_events.processing_ms IS
    'Milliseconds from the receipt of the message to the write of the last outcome.';

-- A refused body that is too large to be held in memory is kept in parts.
CREATE TABLE IF NOT EXISTS rejected_parts (
    whole uuid NOT NULL,
    part integer NOT NULL,
    body bytea NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (whole, part)
);
COMMENT ON TABLE rejected_parts IS
    'Parts of large bodies of rejected_messages. Those of a `whole` that is not there were never finished.';

ALTER TABLE rejected_messages
    ADD COLUMN IF NOT EXISTS whole uuid,
    ALTER COLUMN body DROP NOT NULL,
    DROP CONSTRAINT IF EXISTS rejected_messages_body_or_parts,
    ADD CONSTRAINT rejected_messages_body_or_parts CHECK (num_nonnulls(body, whole) = 1);
COMMENT ON COLUMN rejected_messages.whole IS 'The body is in rejected_parts under this id, and all there.';
