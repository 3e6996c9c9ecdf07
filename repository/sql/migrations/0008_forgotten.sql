-- Conversations of users who were forgotten: only a hash, so that a message which comes again is known.
CREATE TABLE IF NOT EXISTS forgotten_conversations (
    conversation_sha256 bytea PRIMARY KEY,
    forgotten_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE forgotten_conversations IS
    'SHA-256 of the ids of conversations that `forget` deleted: their messages change nothing any more.';
