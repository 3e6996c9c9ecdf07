-- The events' state machine. Every guard stands in a WHERE: under READ COMMITTED PostgreSQL evaluates it again on the
-- newest row after it waited for a lock. While a row is PROCESSING, error_code, error_details and next_attempt_at keep
-- what the claim found (error_code is NULL if and only if it found PENDING), so a restore needs no memory of ours.

-- fragment: log_known
-- The row keeps the log, or says where it should be.
(nullif(e.conversation_log_url, '') IS NOT NULL OR {log_durable})

-- fragment: blames
-- Causes of the deaths since the last outcome that count against the message, newest first.
ARRAY(SELECT d.cause FROM child_deaths AS d
       WHERE {its_death} AND d.claim_epoch > e.outcome_epoch AND d.blamed ORDER BY d.claim_epoch DESC)

-- fragment: mine
-- The fence: the newest claim, and it is this holder's.
{this_event} AND e.status = 'PROCESSING' AND e.claim_epoch = %(epoch)s AND e.claimed_by = %(claimed_by)s

-- fragment: lease
clock_timestamp() + %(lease_s)s::float8 * interval '1 second'

-- fragment: patience
-- When an id that is on its way to a consumer counts as lost.
clock_timestamp() + interval '10 minutes' * power(2, least(e.publish_count, 6))

-- fragment: from_message
-- What the message knows and the row does not. Of two URLs the newer message's is believed: the row's may be why it comes.
bot_type = coalesce(e.bot_type, %(bot_type)s),
bot_id = coalesce(e.bot_id, %(bot_id)s),
bot_name = coalesce(e.bot_name, %(bot_name)s),
agent_tag = coalesce(e.agent_tag, %(agent_tag)s),
conversation_log_url = coalesce(%(conversation_log_url)s, e.conversation_log_url),
start_time = coalesce(e.start_time, %(start_time)s::timestamptz),
end_time = coalesce(e.end_time, %(end_time)s::timestamptz)

-- fragment: unclaimed
-- No holder any more.
claimed_by = NULL, lease_until = NULL, updated_at = clock_timestamp()

-- fragment: outcome
-- A count since the last outcome starts again.
outcome_epoch = e.claim_epoch, unexplained_takeovers = 0, publish_count = 0

-- fragment: bill
-- What the message cost, as its holder says; without a bill the columns stay. Whoever settles a message that killed its
-- children never grew: the heaviest of them counts.
body_bytes = coalesce(%(body_bytes)s::bigint, e.body_bytes),
peak_rss_bytes = CASE WHEN %(peak_rss_bytes)s::bigint IS NULL THEN e.peak_rss_bytes
                      ELSE greatest(%(peak_rss_bytes)s::bigint,
                                    (SELECT max(d.rss_bytes) FROM child_deaths AS d
                                      WHERE {its_death} AND d.claim_epoch > e.outcome_epoch)) END,
processing_ms = coalesce(%(processing_ms)s::integer, e.processing_ms)

-- fragment: claimed
-- Another program's texts may be of any length: each is cut one character beyond what is used, which shows it.
e.id AS event_id, e.conversation_id, e.user_id, e.claim_epoch AS epoch, e.attempt_count AS attempt, e.claimed_by,
left(e.bot_type, 256) AS bot_type, left(e.agent_tag, 256) AS agent_tag,
nullif(left(e.conversation_log_url, 2049), '') AS conversation_log_url, {log_in_row} AS log_in_row,
e.parked_log IS NOT NULL AS log_parked, e.claim_epoch - e.outcome_epoch AS claims_since_outcome, {blames} AS blames

-- fragment: seen
SELECT e.id AS event_id, e.conversation_id, e.user_id, e.status, e.claim_epoch AS epoch, left(e.claimed_by, 1000) AS claimed_by,
       e.attempt_count AS attempt, {lease_end} > clock_timestamp() AS lease_live,
       d.event_id IS NOT NULL AS accounted, {blames} AS blames,
       e.claim_epoch - e.outcome_epoch AS claims_since_outcome, e.unexplained_takeovers, {log_durable} AS log_durable
  FROM conversation_events AS e
  LEFT JOIN child_deaths AS d
    ON {its_death} AND d.claim_epoch = e.claim_epoch AND d.claimed_by = e.claimed_by

-- fragment: topics
-- Another program writes this column too: what is no object holds no topic. Materialized, it is decompressed once for
-- all that is asked of it; the sum is what does that.
SELECT CASE WHEN jsonb_typeof(u.topic_metrics::jsonb) = 'object' THEN u.topic_metrics::jsonb ELSE '{}' END || '{}'
       AS topics
  FROM friendship_status AS u WHERE u.user_id = %(user_id)s

-- name: claim
-- Take an event that is free. PROCESSING under my own name is mine already, the reply was lost: nothing is counted twice.
UPDATE conversation_events AS e
   SET status = 'PROCESSING',
       claim_epoch = e.claim_epoch + CASE e.status WHEN 'PROCESSING' THEN 0 ELSE 1 END,
       attempt_count = e.attempt_count + CASE e.status WHEN 'PROCESSING' THEN 0 ELSE 1 END,
       claimed_by = %(claimed_by)s,
       lease_until = {lease},
       error_code = CASE e.status WHEN 'PENDING' THEN NULL
                                  WHEN 'FAILED' THEN coalesce(e.error_code, 'UNEXPECTED_ERROR')
                                  ELSE e.error_code END,
       error_details = CASE e.status WHEN 'PENDING' THEN NULL ELSE e.error_details END,
       updated_at = clock_timestamp(),
       {from_message}
 WHERE e.conversation_id = %(conversation_id)s AND e.user_id = %(user_id)s
   AND (e.status = 'PENDING'
        OR (e.status = 'FAILED' AND e.next_attempt_at <= clock_timestamp())
        OR (e.status = 'FAILED' AND e.error_code IN ('INVALID_MESSAGE', 'MESSAGE_TOO_LARGE', 'LOG_UNAVAILABLE')
            AND (%(carries_log)s OR e.parked_log IS NOT NULL OR {log_in_row}))
        OR (e.status = 'PROCESSING' AND e.claimed_by = %(claimed_by)s))
RETURNING {claimed};

-- name: create_claimed
-- The row of a message that came without one, claimed at birth. A conversation in the ledger had a row once, and its
-- score is counted; one of a user who was forgotten had one, too.
INSERT INTO conversation_events AS e
       (conversation_id, user_id, bot_type, bot_id, bot_name, agent_tag, conversation_log_url, start_time, end_time,
        conversation_log, status, attempt_count, next_attempt_at, claim_epoch, claimed_by, lease_until, created_at,
        updated_at)
SELECT %(conversation_id)s::text, %(user_id)s::text, %(bot_type)s::text, %(bot_id)s::text, %(bot_name)s::text,
       %(agent_tag)s::text, %(conversation_log_url)s::text, %(start_time)s::timestamptz, %(end_time)s::timestamptz,
       NULL, 'PROCESSING', 1, clock_timestamp() + interval '6 hours', 1, %(claimed_by)s::text, {lease}, clock_timestamp(),
       clock_timestamp()
 WHERE NOT EXISTS (SELECT FROM score_ledger AS l WHERE l.conversation_id = %(conversation_id)s::text)
   AND NOT EXISTS (SELECT FROM forgotten_conversations AS f WHERE f.conversation_sha256 = {sha256})
ON CONFLICT (conversation_id) DO NOTHING
RETURNING {claimed};

-- name: known_before
-- A conversation without a row that is done all the same.
-- user_id: NULL of one that was forgotten.
SELECT l.user_id FROM score_ledger AS l WHERE l.conversation_id = %(conversation_id)s::text
UNION ALL
SELECT NULL FROM forgotten_conversations AS f WHERE f.conversation_sha256 = {sha256};

-- name: classify
-- Why a claim found nothing to take.
{seen}
 WHERE e.conversation_id = %(conversation_id)s;

-- name: sight
{seen}
 WHERE {this_event};

-- name: take_over
-- Claim over a holder that is gone. Its attempt is given back unless its account says that the message killed it; an
-- account that came after the look at it counts too. What an older worker left says nothing about how it was found.
UPDATE conversation_events AS e
   SET claim_epoch = e.claim_epoch + 1,
       attempt_count = greatest(1, e.attempt_count + CASE WHEN EXISTS (
           SELECT FROM child_deaths AS d WHERE {its_death} AND d.claim_epoch = e.claim_epoch
              AND d.claimed_by = e.claimed_by AND d.blamed) THEN 1 ELSE 0 END),
       unexplained_takeovers = CASE WHEN %(accounted)s OR EXISTS (
           SELECT FROM child_deaths AS d WHERE {its_death} AND d.claim_epoch = e.claim_epoch
              AND d.claimed_by = e.claimed_by) THEN 0 ELSE e.unexplained_takeovers + 1 END,
       claimed_by = %(claimed_by)s,
       lease_until = {lease},
       error_code = CASE WHEN e.claimed_by IS NULL THEN NULL ELSE e.error_code END,
       error_details = CASE WHEN e.claimed_by IS NULL THEN NULL ELSE e.error_details END,
       updated_at = clock_timestamp(),
       {from_message}
 WHERE {this_event} AND e.status = 'PROCESSING' AND e.claim_epoch = %(epoch)s
   AND e.claimed_by IS DISTINCT FROM %(claimed_by)s
RETURNING {claimed};

-- name: own
-- The claim that a takeover made whose reply was lost.
SELECT {claimed}
  FROM conversation_events AS e
 WHERE {this_event} AND e.status = 'PROCESSING' AND e.claimed_by = %(claimed_by)s;

-- name: lock_event
-- First lock of `complete`. It waits for a backend that may still be committing an earlier try of this very
-- transaction, so what it finds is final.
SELECT e.id FROM conversation_events AS e WHERE {mine} FOR NO KEY UPDATE;

-- name: applied_by
-- Whether this claim's own `complete` was committed.
SELECT l.score_after, coalesce(e.new_friendship_level, u.friendship_level) AS level
  FROM score_ledger AS l
  LEFT JOIN conversation_events AS e ON e.id = l.event_id AND e.conversation_id = l.conversation_id
  LEFT JOIN friendship_status AS u ON u.user_id = l.user_id
 WHERE l.conversation_id = %(conversation_id)s AND l.user_id = %(user_id)s
   AND l.event_id = %(event_id)s AND l.claim_epoch = %(epoch)s;

-- name: lock_user
-- Second lock, always after the event's.
SELECT coalesce(u.friendship_score, 0)::float8 AS score, coalesce(u.friendship_level, 'PHASE1_STRANGER') AS level,
       u.ledger_seq
  FROM friendship_status AS u WHERE u.user_id = %(user_id)s FOR NO KEY UPDATE;

-- name: try_user
SELECT FROM friendship_status AS u WHERE u.user_id = %(user_id)s FOR NO KEY UPDATE NOWAIT;

-- name: create_user
INSERT INTO friendship_status (user_id) VALUES (%(user_id)s) ON CONFLICT (user_id) DO NOTHING;

-- name: ledger_of_user
-- Read after the user's lock. A user row that somebody made anew starts its own count at 0, the ledger does not.
SELECT (SELECT coalesce(max(l.seq), 0) FROM score_ledger AS l WHERE l.user_id = %(user_id)s) AS seq,
       applied.delta AS applied, applied.user_id AS applied_to
  FROM (SELECT) AS once
  LEFT JOIN score_ledger AS applied ON applied.conversation_id = %(conversation_id)s;

-- name: topic
-- What the user has of one topic; read after the user's lock. Numbers as texts, cut where any is out of a float's range.
WITH found AS MATERIALIZED ({topics})
SELECT pg_column_size(f.topics) AS size_bytes, f.topics ? %(topic)s::text AS known,
       CASE WHEN f.topics ? %(topic)s::text THEN 0
            ELSE (SELECT count(*) FROM jsonb_object_keys(f.topics)) END AS topics,
       CASE WHEN jsonb_typeof(f.topics -> %(topic)s::text -> 'score') = 'number'
            THEN left(f.topics -> %(topic)s::text ->> 'score', 400) END AS score,
       CASE WHEN jsonb_typeof(f.topics -> %(topic)s::text -> 'turns') = 'number'
            THEN left(f.topics -> %(topic)s::text ->> 'turns', 400) END AS turns
  FROM found AS f;

-- name: write_user
-- Returns the score as stored: an older column may be of less precision. Without a topic the topics stay as they are;
-- what is no object is no topic.
WITH kept AS MATERIALIZED ({topics})
UPDATE friendship_status AS u
   SET friendship_score = %(score)s, friendship_level = %(level)s,
       topic_metrics = CASE WHEN %(topic)s::text IS NULL THEN u.topic_metrics::jsonb ELSE (
           SELECT k.topics || jsonb_build_object(%(topic)s::text,
                  CASE WHEN jsonb_typeof(k.topics -> %(topic)s::text) = 'object'
                       THEN k.topics -> %(topic)s::text ELSE '{}' END
                  || %(entry)s::jsonb
                  || jsonb_build_object('last_date', to_char(clock_timestamp() AT TIME ZONE 'UTC',
                                                             'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')))
             FROM kept AS k) END,
       ledger_seq = %(seq)s, last_interaction_date = clock_timestamp(), updated_at = clock_timestamp()
 WHERE u.user_id = %(user_id)s
RETURNING u.friendship_score::float8 AS score;

-- name: write_ledger
INSERT INTO score_ledger (event_id, conversation_id, user_id, seq, delta, score_before, score_after, claim_epoch)
VALUES (%(event_id)s, %(conversation_id)s, %(user_id)s, %(seq)s, %(delta)s, %(before)s, %(after)s, %(epoch)s)
RETURNING event_id;

-- name: write_processed
UPDATE conversation_events AS e
   SET status = 'PROCESSED', processed_at = clock_timestamp(), friendship_score_change = %(delta)s,
       new_friendship_level = %(level)s, error_code = NULL,
       score_calculation_details = %(details)s::jsonb || CASE WHEN %(topic_left_out)s::text IS NULL THEN '{}'
                                       ELSE jsonb_build_object('topic_left_out', %(topic_left_out)s::text) END,
       error_details = NULL, next_attempt_at = NULL, parked_log = NULL, {bill}, {outcome}, {unclaimed}
 WHERE {mine}
RETURNING e.id;

-- name: fail
-- delay_s NULL: never again by itself. The one ack rule, in the same statement as the outcome: what the holder worked on
-- goes before what a loser left.
UPDATE conversation_events AS e
   SET status = 'FAILED', error_code = %(code)s, error_details = %(details)s,
       next_attempt_at = clock_timestamp() + %(delay_s)s::float8 * interval '1 second',
       attempt_count = greatest(0, e.attempt_count - %(uncounted)s),
       parked_log = coalesce(%(parked)b::bytea, e.parked_log),
       {bill}, {outcome}, {unclaimed}
 WHERE {mine}
RETURNING e.id;

-- name: skip
UPDATE conversation_events AS e
   SET status = 'SKIPPED', processed_at = clock_timestamp(), error_code = NULL, error_details = NULL,
       next_attempt_at = NULL, parked_log = NULL, {bill}, {outcome}, {unclaimed}
 WHERE {mine}
RETURNING e.id;

-- name: release
-- Give the event and its attempt back. It is PENDING with a time, so a message that never comes back is only a delay.
UPDATE conversation_events AS e
   SET status = 'PENDING', attempt_count = greatest(e.attempt_count - 1, 0), next_attempt_at = {patience},
       error_code = NULL, error_details = NULL, {unclaimed}
 WHERE {mine}
RETURNING e.id;

-- name: put_off
-- Give the event and its attempt back for now, log and all: another session is in the way, and nothing is wrong with it.
-- It counts as an outcome: a lock of hours must not end at the limit of claims, and who comes so far kills no child.
UPDATE conversation_events AS e
   SET status = 'PENDING', attempt_count = greatest(e.attempt_count - 1, 0),
       next_attempt_at = clock_timestamp() + %(delay_s)s::float8 * interval '1 second',
       parked_log = coalesce(%(parked)b::bytea, e.parked_log), error_code = NULL, error_details = NULL,
       {outcome}, {unclaimed}
 WHERE {mine}
RETURNING e.id;

-- name: restore
-- Put the event back as the claim found it; an outcome that it had stands as its last one.
UPDATE conversation_events AS e
   SET status = CASE WHEN e.error_code IS NULL THEN 'PENDING' ELSE 'FAILED' END,
       attempt_count = greatest(e.attempt_count - 1, 0),
       next_attempt_at = CASE WHEN e.error_code IS NULL THEN coalesce(e.next_attempt_at, {patience})
                              ELSE e.next_attempt_at END,
       outcome_epoch = CASE WHEN e.error_code IS NULL THEN e.outcome_epoch ELSE e.claim_epoch END,
       {unclaimed}
 WHERE {mine}
RETURNING e.id;

-- name: fate
-- How an event stands for a holder whose write found nothing: beaten, or done by an earlier try of the same write.
SELECT e.status, e.claim_epoch AS epoch, e.claimed_by, e.outcome_epoch, e.error_code, {log_durable} AS log_durable
  FROM conversation_events AS e WHERE {this_event};

-- name: park
-- Keep the log of a message that is acknowledged without an outcome of its own. It replaces none: the first stays.
UPDATE conversation_events AS e
   SET parked_log = %(parked)b::bytea, updated_at = clock_timestamp()
 WHERE {this_event} AND e.status NOT IN ('PROCESSED', 'SKIPPED') AND NOT {log_durable}
RETURNING e.id;

-- name: keep_url
-- What a message that is acknowledged without an outcome of its own says of the log's place.
UPDATE conversation_events AS e
   SET conversation_log_url = %(conversation_log_url)s, updated_at = clock_timestamp()
 WHERE {this_event} AND e.status NOT IN ('PROCESSED', 'SKIPPED')
   AND e.conversation_log_url IS DISTINCT FROM %(conversation_log_url)s
RETURNING e.id;

-- name: refuse
-- End the row that waits for just this unusable message; one that knows of a log elsewhere does not.
UPDATE conversation_events AS e
   SET status = 'FAILED', error_code = %(code)s, error_details = %(details)s, next_attempt_at = NULL,
       {outcome}, {unclaimed}
 WHERE e.conversation_id = %(conversation_id)s AND e.status = 'PENDING' AND NOT {log_known}
RETURNING e.id;

-- name: stored_log
-- A parked log before the row's: it was read, and is what an earlier try worked on. An empty list in the row only when
-- there is nothing else. What is too large stays in the database, data NULL; a thousandth more is what zlib may add. As
-- jsonb a log takes at most three times its text: one that surely is too large is not even spelled, which takes seconds.
WITH stored AS MATERIALIZED (
    SELECT e.parked_log, {log_in_row} OR e.conversation_log = '[]' AS in_row,
           CASE WHEN e.parked_log IS NULL AND ({log_in_row} OR e.conversation_log = '[]')
                 AND pg_column_size(e.conversation_log || '[]') <= 3 * %(max_bytes)s::bigint + 100
                THEN e.conversation_log::text END AS log
      FROM conversation_events AS e WHERE {this_event})
SELECT CASE WHEN s.parked_log IS NOT NULL THEN 'parked' ELSE 'row' END AS kind,
       CASE WHEN octet_length(s.parked_log) <= %(max_bytes)s::bigint * 1.001 + 100 THEN s.parked_log
            WHEN octet_length(s.log) <= %(max_bytes)s::bigint THEN convert_to(s.log, 'UTF8') END AS data
  FROM stored AS s WHERE s.parked_log IS NOT NULL OR s.in_row;
