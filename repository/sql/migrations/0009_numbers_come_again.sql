-- What is known of a conversation belongs to it and not to the number of its event, which comes again when the older
-- tables are restored, or truncated with their sequence, and ours are not.
ALTER TABLE score_ledger
    DROP CONSTRAINT IF EXISTS score_ledger_pkey,
    DROP CONSTRAINT IF EXISTS score_ledger_conversation_id_key,
    ADD CONSTRAINT score_ledger_pkey PRIMARY KEY (conversation_id);
CREATE INDEX IF NOT EXISTS score_ledger_event ON score_ledger (event_id);
COMMENT ON COLUMN score_ledger.event_id IS 'The number of the event when the change was made; no key.';

-- A holder dies once; claimed_by is unique per delivery.
ALTER TABLE child_deaths
    DROP CONSTRAINT IF EXISTS child_deaths_pkey,
    ADD CONSTRAINT child_deaths_pkey PRIMARY KEY (event_id, claim_epoch, claimed_by);
