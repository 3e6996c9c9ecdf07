-- Deaths with a message in hand that nobody had claimed yet: its parser died, say. No event's row tells of them.

CREATE TABLE IF NOT EXISTS message_deaths (
    host text NOT NULL,
    pid integer NOT NULL,
    died_at timestamptz NOT NULL,
    body_bytes bigint NOT NULL,
    body_crc32 bigint NOT NULL,
    message_id text,
    cause text NOT NULL,
    blamed boolean NOT NULL,
    slot integer NOT NULL,
    rss_bytes bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (host, pid, died_at)
);
COMMENT ON TABLE message_deaths IS
    'The account of the dead, for messages that were not claimed: who died of a body of this size and checksum.';
COMMENT ON COLUMN message_deaths.body_crc32 IS
    'Of the first 64 KiB of the body; 0 when the child died while it was arriving.';
CREATE INDEX IF NOT EXISTS message_deaths_body ON message_deaths (body_bytes, body_crc32);
