-- No foreign keys to the older tables: their owners may delete rows, and a ledger row must outlive its event, so
-- that a message which comes again is known to be applied.

CREATE TABLE IF NOT EXISTS score_ledger (
    event_id bigint PRIMARY KEY,
    conversation_id text NOT NULL UNIQUE,
    user_id text NOT NULL,
    seq bigint NOT NULL,
    delta double precision NOT NULL,
    score_before double precision NOT NULL,
    score_after double precision NOT NULL,
    claim_epoch bigint NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (user_id, seq),
    -- NaN sorts above infinity here, and NaN + 5 stays NaN for ever: one comparison refuses both
    CONSTRAINT score_ledger_finite CHECK (delta > '-infinity' AND delta < 'infinity'
                                          AND score_after > '-infinity' AND score_after < 'infinity')
);
COMMENT ON TABLE score_ledger IS
    'One row per conversation whose change is in a user''s score, written in the transaction that adds it.';

CREATE TABLE IF NOT EXISTS child_deaths (
    event_id bigint NOT NULL,
    claim_epoch bigint NOT NULL,
    conversation_id text NOT NULL,
    claimed_by text NOT NULL,
    cause text NOT NULL,
    blamed boolean NOT NULL,
    died_at timestamptz NOT NULL,
    host text NOT NULL,
    slot integer NOT NULL,
    pid integer NOT NULL,
    rss_bytes bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_id, claim_epoch)
);
COMMENT ON TABLE child_deaths IS
    'The account of the dead: how the holder of a claim ended, and whether the message was to blame.';

CREATE TABLE IF NOT EXISTS rejected_messages (
    body_sha256 bytea PRIMARY KEY,
    body bytea NOT NULL,
    reason text NOT NULL,
    message_id text,
    bytes bigint NOT NULL,
    hits bigint NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE rejected_messages IS 'Bodies that belong into the dead-letter queue while it cannot be written.';
