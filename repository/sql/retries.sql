-- Rows whose time has come, taken by one host each: locked rows are another's. All become PENDING with a time, so an id
-- that is lost between this commit and its publication is only a delay, which doubles each time.
-- clock_timestamp() stands in a sub-select so that it is read once and the partial indexes serve.

-- fragment: published
status = 'PENDING', publish_count = e.publish_count + 1, updated_at = clock_timestamp(), error_code = NULL,
error_details = NULL, next_attempt_at = clock_timestamp() + interval '10 minutes' * power(2, least(e.publish_count, 6))

-- fragment: lease_over
status = 'PROCESSING'
AND coalesce(lease_until, updated_at + interval '30 minutes', created_at + interval '30 minutes', '-infinity')
    < (SELECT clock_timestamp())

-- fragment: failed_due
status = 'FAILED' AND next_attempt_at <= (SELECT clock_timestamp())

-- fragment: pending_due
status = 'PENDING' AND coalesce(next_attempt_at, created_at) <= (SELECT clock_timestamp())

-- name: rescued
-- The holder's lease ran out. Its attempt is given back, unless its account says that the message killed it. A claim of
-- an older worker has no owner, and its attempt is left as that worker counts it.
WITH due AS (
    SELECT id FROM conversation_events
     WHERE {lease_over}
     ORDER BY lease_until NULLS FIRST LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE conversation_events AS e
   SET attempt_count = greatest(0, e.attempt_count - CASE WHEN e.claimed_by IS NULL OR EXISTS (
           SELECT FROM child_deaths AS d WHERE {its_death} AND d.claim_epoch = e.claim_epoch
              AND d.claimed_by = e.claimed_by AND d.blamed) THEN 0 ELSE 1 END),
       claimed_by = NULL, lease_until = NULL, {published}
  FROM due WHERE e.id = due.id
RETURNING e.conversation_id, e.user_id;

-- name: failed
WITH due AS (
    SELECT id FROM conversation_events
     WHERE {failed_due}
     ORDER BY next_attempt_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE conversation_events AS e SET {published}
  FROM due WHERE e.id = due.id
RETURNING e.conversation_id, e.user_id;

-- name: pending
-- No consumer came: the message is lost, or waits in a long queue.
WITH due AS (
    SELECT id FROM conversation_events
     WHERE {pending_due}
     ORDER BY coalesce(next_attempt_at, created_at) LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE conversation_events AS e SET {published}
  FROM due WHERE e.id = due.id
RETURNING e.conversation_id, e.user_id;

-- name: waiting
-- All that is due. Three counts, each through its own index.
SELECT (SELECT count(*) FROM conversation_events WHERE {lease_over})
     + (SELECT count(*) FROM conversation_events WHERE {failed_due})
     + (SELECT count(*) FROM conversation_events WHERE {pending_due}) AS events;
