-- A log on its way into its event's row, ahead of its message.

-- fragment: open
e.status NOT IN ('PROCESSED', 'SKIPPED')

-- fragment: in_s3
(nullif(e.conversation_log_url, '') IS NOT NULL)

-- fragment: known_before
-- A conversation without a row that is done all the same, or that was forgotten: its words must not come back.
(EXISTS (SELECT FROM score_ledger AS l WHERE l.conversation_id = %(conversation_id)s::text)
 OR EXISTS (SELECT FROM forgotten_conversations AS f
             WHERE f.conversation_sha256 = {sha256}))

-- name: store
-- A new row waits for its message; should that never come, the retry pass publishes its id. A row that is there keeps its
-- state, its claim and what it knows: only a log that it lacks is added. One that names an object does without: S3 is
-- asked before the row. fits: what is read again is a text, which may be thousands of times what was given.
WITH given AS MATERIALIZED (SELECT convert_from(%(log)b::bytea, 'UTF8')::jsonb AS log),
weighed AS MATERIALIZED (SELECT g.log, octet_length(g.log::text) <= %(max_bytes)s::bigint AS fits FROM given AS g),
stored AS (
INSERT INTO conversation_events AS e
       (conversation_id, user_id, bot_type, bot_id, bot_name, agent_tag, start_time, end_time, conversation_log,
        status, attempt_count, next_attempt_at, created_at, updated_at)
SELECT %(conversation_id)s::text, %(user_id)s::text, %(bot_type)s::text, %(bot_id)s::text, %(bot_name)s::text,
       %(agent_tag)s::text, %(start_time)s::timestamptz, %(end_time)s::timestamptz,
       w.log, 'PENDING', 0, clock_timestamp() + interval '6 hours', clock_timestamp(), clock_timestamp()
  FROM weighed AS w WHERE w.fits AND NOT {known_before}
ON CONFLICT (conversation_id) DO UPDATE
   SET conversation_log = excluded.conversation_log,
       bot_type = coalesce(e.bot_type, excluded.bot_type),
       bot_id = coalesce(e.bot_id, excluded.bot_id),
       bot_name = coalesce(e.bot_name, excluded.bot_name),
       agent_tag = coalesce(e.agent_tag, excluded.agent_tag),
       start_time = coalesce(e.start_time, excluded.start_time),
       end_time = coalesce(e.end_time, excluded.end_time),
       updated_at = clock_timestamp()
 WHERE e.user_id = excluded.user_id AND {open} AND NOT {in_s3} AND NOT {log_durable}
RETURNING e.id)
SELECT w.fits, EXISTS (SELECT FROM stored) AS stored FROM weighed AS w;

-- name: read
-- As `store` reads and weighs a log, and nothing else.
SELECT octet_length((convert_from(%(log)b::bytea, 'UTF8')::jsonb)::text) AS bytes;

-- name: standing
-- Why nothing was written.
SELECT e.user_id, {open} AND {in_s3} AS elsewhere
  FROM conversation_events AS e WHERE e.conversation_id = %(conversation_id)s;
