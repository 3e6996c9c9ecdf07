-- What an operator asks and does. Nothing here reads a conversation's text.

-- fragment: selected
-- A filter that is NULL passes everything.
(%(ids)s::text[] IS NULL OR e.conversation_id = ANY (%(ids)s::text[]))
AND (%(status)s::text IS NULL OR e.status = %(status)s::text)
AND (%(user_id)s::text IS NULL OR e.user_id = %(user_id)s::text)
AND (%(code)s::text IS NULL OR e.error_code = %(code)s::text)
AND (%(older_than_s)s::float8 IS NULL
     OR coalesce(e.updated_at, e.created_at) < clock_timestamp() - %(older_than_s)s::float8 * interval '1 second')
AND (NOT %(due)s::boolean
     OR CASE e.status WHEN 'PENDING' THEN coalesce(e.next_attempt_at, e.created_at) <= clock_timestamp()
                      WHEN 'FAILED' THEN e.next_attempt_at <= clock_timestamp()
                      WHEN 'PROCESSING' THEN {lease_end} < clock_timestamp() END)

-- fragment: free
-- Nobody is at work on it, and it is not done.
(e.status IN ('PENDING', 'FAILED') OR (e.status = 'PROCESSING' AND {lease_end} < clock_timestamp()))

-- name: list
-- Newest change first.
SELECT e.conversation_id, e.user_id, e.status, e.error_code, e.attempt_count AS attempts, e.next_attempt_at,
       e.created_at, e.updated_at
  FROM conversation_events AS e
 WHERE {selected}
 ORDER BY e.updated_at DESC, e.id DESC
 LIMIT %(limit)s;

-- name: show
-- Every column of ours; of the log and of the parked message only the bytes, and of another program's endless texts the
-- beginning.
SELECT e.conversation_id, e.user_id, e.id, e.status, e.error_code, left(e.error_details, 2048) AS error_details,
       e.attempt_count, e.next_attempt_at, e.processed_at, e.friendship_score_change, e.new_friendship_level,
       left(e.score_calculation_details::text, 10000) AS score_calculation_details, left(e.bot_type, 2048) AS bot_type,
       left(e.bot_id, 2048) AS bot_id, left(e.bot_name, 2048) AS bot_name, left(e.agent_tag, 2048) AS agent_tag,
       e.start_time, e.end_time, left(e.conversation_log_url, 2048) AS conversation_log_url,
       octet_length(e.conversation_log::text) AS conversation_log_bytes,
       octet_length(e.parked_log) AS parked_log_bytes, e.claim_epoch, e.outcome_epoch, e.claimed_by, e.lease_until,
       e.unexplained_takeovers, e.publish_count, e.body_bytes, e.peak_rss_bytes, e.processing_ms, e.created_at,
       e.updated_at
  FROM conversation_events AS e
 WHERE e.conversation_id = ANY (%(ids)s::text[])
 ORDER BY e.id;

-- name: deaths
SELECT d.event_id, d.conversation_id, d.claim_epoch, d.cause, d.blamed, d.died_at, d.host, d.slot, d.pid, d.rss_bytes, d.claimed_by
  FROM child_deaths AS d
 WHERE d.event_id = ANY (%(event_ids)s::bigint[]) AND d.conversation_id = ANY (%(ids)s::text[])
 ORDER BY d.event_id, d.claim_epoch;

-- name: ledger
-- Also of a conversation whose event is gone.
SELECT l.conversation_id, l.event_id, l.user_id, l.seq, l.delta, l.score_before, l.score_after, l.claim_epoch,
       l.applied_at
  FROM score_ledger AS l
 WHERE l.conversation_id = ANY (%(ids)s::text[])
 ORDER BY l.conversation_id;

-- name: count_requeueable
SELECT count(*) AS events FROM conversation_events AS e WHERE {selected} AND {free};

-- name: requeue
-- As after an outcome that never was: every count starts again. A holder whose lease ran out is fenced out by the
-- status. The caller publishes; an id that is lost on the way is due again in 10 minutes.
WITH chosen AS (
    SELECT e.id FROM conversation_events AS e
     WHERE {selected} AND {free} AND e.id > %(after)s
     ORDER BY e.id LIMIT %(limit)s FOR NO KEY UPDATE)
UPDATE conversation_events AS e
   SET status = 'PENDING', attempt_count = 0, outcome_epoch = e.claim_epoch, unexplained_takeovers = 0,
       publish_count = 1, next_attempt_at = clock_timestamp() + interval '10 minutes', error_code = NULL,
       error_details = NULL, claimed_by = NULL, lease_until = NULL, updated_at = clock_timestamp()
  FROM chosen WHERE e.id = chosen.id
RETURNING e.id, e.conversation_id, e.user_id;

-- name: standing
-- How events stand that were asked for by name.
SELECT e.conversation_id, e.status, e.lease_until FROM conversation_events AS e
 WHERE e.conversation_id = ANY (%(ids)s::text[]);

-- name: cutoff
SELECT clock_timestamp() - %(older_than_s)s::float8 * interval '1 second' AS before,
       (SELECT coalesce(min(e.id), 1) FROM conversation_events AS e)::bigint AS first,
       (SELECT coalesce(max(e.id), 0) FROM conversation_events AS e)::bigint AS last;

-- fragment: ended
-- Never again by itself, and long enough so.
(e.status IN ('PROCESSED', 'SKIPPED') OR (e.status = 'FAILED' AND e.next_attempt_at IS NULL))
AND coalesce(e.updated_at, e.created_at) < %(before)s

-- fragment: orphan
-- Its event was deleted by another.
d.died_at < %(before)s AND NOT EXISTS (SELECT FROM conversation_events AS e WHERE {its_death})

-- name: prunable
SELECT (SELECT count(*) FROM conversation_events AS e WHERE {ended}) AS events,
       (SELECT count(*) FROM child_deaths AS d
         WHERE ({orphan}) OR EXISTS (SELECT FROM conversation_events AS e WHERE {its_death} AND {ended})) AS deaths,
       (SELECT count(*) FROM message_deaths AS m WHERE m.died_at < %(before)s) AS message_deaths,
       (SELECT count(*) FROM rejected_messages AS r WHERE r.last_seen < %(before)s) AS rejected;

-- name: prune_events
-- The ledger stays: it is what makes a conversation that comes again known.
WITH gone AS (
    DELETE FROM conversation_events AS e
     WHERE e.id > %(after)s AND e.id <= %(upto)s AND {ended}
    RETURNING e.id, e.conversation_id),
deaths AS (DELETE FROM child_deaths AS d USING gone AS e WHERE {its_death} RETURNING d.event_id)
SELECT (SELECT count(*) FROM gone) AS events, (SELECT count(*) FROM deaths) AS deaths;

-- name: prune_orphans
WITH gone AS (
    DELETE FROM child_deaths AS x
     WHERE x.ctid = ANY (ARRAY(SELECT d.ctid FROM child_deaths AS d WHERE {orphan} LIMIT %(limit)s))
    RETURNING x.event_id)
SELECT count(*) AS rows FROM gone;

-- name: prune_rejected
WITH gone AS (
    DELETE FROM rejected_messages AS x
     WHERE x.body_sha256 IN (SELECT r.body_sha256 FROM rejected_messages AS r
                              WHERE r.last_seen < %(before)s LIMIT %(limit)s)
       AND x.last_seen < %(before)s
    RETURNING x.whole),
parts AS (DELETE FROM rejected_parts AS p USING gone WHERE p.whole = gone.whole)
SELECT count(*) AS rows FROM gone;

-- name: mark_forgotten
-- First, by itself: a message that comes while the rest is deleted finds the mark.
INSERT INTO forgotten_conversations (conversation_sha256)
SELECT sha256(convert_to(x.conversation_id, 'UTF8'))
  FROM (SELECT e.conversation_id FROM conversation_events AS e WHERE e.user_id = %(user_id)s
        UNION SELECT l.conversation_id FROM score_ledger AS l WHERE l.user_id = %(user_id)s) AS x
ON CONFLICT (conversation_sha256) DO NOTHING;

-- name: forgotten
SELECT EXISTS (SELECT FROM forgotten_conversations AS f
                WHERE f.conversation_sha256 = sha256(convert_to(%(conversation_id)s::text, 'UTF8'))) AS known;

-- name: urls
SELECT DISTINCT e.conversation_log_url AS url FROM conversation_events AS e
 WHERE e.user_id = %(user_id)s AND e.conversation_log_url <> '' ORDER BY 1;

-- name: forget_events
-- Waits for a `complete` that is just being committed; then its ledger row is seen below.
WITH gone AS (
    DELETE FROM conversation_events AS e WHERE e.user_id = %(user_id)s
    RETURNING e.id, e.conversation_id, nullif(e.conversation_log_url, '') AS url),
deaths AS (DELETE FROM child_deaths AS d USING gone WHERE d.conversation_id = gone.conversation_id RETURNING d.event_id)
SELECT (SELECT count(*) FROM gone) AS events, (SELECT count(*) FROM deaths) AS deaths,
       ARRAY(SELECT DISTINCT gone.url FROM gone WHERE gone.url IS NOT NULL ORDER BY 1) AS urls;

-- name: forget_status
WITH gone AS (DELETE FROM friendship_status AS u WHERE u.user_id = %(user_id)s RETURNING u.user_id)
SELECT count(*) AS rows FROM gone;

-- name: forget_ledger
WITH gone AS (DELETE FROM score_ledger AS l WHERE l.user_id = %(user_id)s RETURNING l.conversation_id),
-- of events that were pruned, or whose accounts name the conversation only
deaths AS (DELETE FROM child_deaths AS d USING gone WHERE d.conversation_id = gone.conversation_id RETURNING d.event_id)
SELECT (SELECT count(*) FROM gone) AS rows, (SELECT count(*) FROM deaths) AS deaths,
       EXISTS (SELECT FROM gone JOIN conversation_events AS e USING (conversation_id)
                WHERE e.user_id = %(user_id)s) AS overtaken;

-- name: prune_message_deaths
WITH gone AS (
    DELETE FROM message_deaths AS m
     WHERE m.ctid = ANY (ARRAY(SELECT x.ctid FROM message_deaths AS x WHERE x.died_at < %(before)s LIMIT %(limit)s))
    RETURNING m.died_at)
SELECT count(*) AS rows FROM gone;

-- name: forget_message_deaths
-- Before the events go: a message_id is the conversation's, where its publisher says one.
WITH gone AS (
    DELETE FROM message_deaths AS m
     WHERE m.message_id IN (SELECT e.conversation_id FROM conversation_events AS e WHERE e.user_id = %(user_id)s
                            UNION SELECT l.conversation_id FROM score_ledger AS l WHERE l.user_id = %(user_id)s)
    RETURNING m.message_id)
SELECT count(*) AS rows FROM gone;
