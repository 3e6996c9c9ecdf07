-- What must never be found. Each statement names offenders, one text per row; no row, no finding. Where an older worker
-- could have left a row so, only rows that were claimed by us (claim_epoch > 0) are judged.

-- name: processed_without_ledger
-- severity: breach
-- An event says PROCESSED, but its change is in no user's score, nor that of an older row of the same conversation which
-- was deleted.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE e.claim_epoch > 0 AND e.status = 'PROCESSED'
   AND NOT EXISTS (SELECT FROM score_ledger AS l WHERE l.conversation_id = e.conversation_id)
 ORDER BY e.id;

-- name: ledger_without_processed
-- severity: breach
-- A change is in a user's score, but its event does not say PROCESSED: somebody wrote its status by hand. Processing it
-- again mends it, and adds nothing.
SELECT 'event ' || e.id || ' is ' || e.status
  FROM score_ledger AS l JOIN conversation_events AS e ON e.conversation_id = l.conversation_id
 WHERE e.status <> 'PROCESSED'
 ORDER BY e.id;

-- name: change_differs_from_ledger
-- severity: warning
-- The change that an event shows is not the one in its user's score: somebody wrote it by hand.
SELECT 'event ' || e.id
  FROM score_ledger AS l JOIN conversation_events AS e ON e.conversation_id = l.conversation_id
 WHERE e.status = 'PROCESSED'
   AND abs(coalesce(e.friendship_score_change, 0) - l.delta) > 1e-4 * greatest(1, abs(l.delta))
 ORDER BY e.id;

-- name: ledger_of_another_user
-- severity: breach
-- A conversation is one user's in its event and another's in the ledger: tables were restored apart, or an id was used
-- again. Its points are with the ledger's user.
SELECT 'event ' || e.id
  FROM score_ledger AS l JOIN conversation_events AS e ON e.conversation_id = l.conversation_id
 WHERE e.user_id <> l.user_id
 ORDER BY e.id;

-- name: number_used_again
-- severity: warning
-- The ledger, or a death, knows the number of an event as another conversation's: tables were restored or truncated apart
-- (docs/restoring.md). Nothing is mixed up by it.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE EXISTS (SELECT FROM score_ledger AS l WHERE l.event_id = e.id AND l.conversation_id <> e.conversation_id)
    OR EXISTS (SELECT FROM child_deaths AS d WHERE d.event_id = e.id AND d.conversation_id <> e.conversation_id)
 ORDER BY e.id;

-- name: ledger_gap
-- severity: breach
-- A user's ledger lacks a row, at its beginning or between two others.
SELECT DISTINCT 'user ' || x.user_id
  FROM (SELECT l.user_id, l.seq, lag(l.seq, 1, 0) OVER (PARTITION BY l.user_id ORDER BY l.seq) AS before
          FROM score_ledger AS l) AS x
 WHERE x.seq <> x.before + 1
 ORDER BY 1;

-- name: ledger_lost
-- severity: breach
-- A user's score counts more changes than the ledger knows: the ledger was restored, or emptied, without the scores. A
-- conversation of before that comes again is counted twice.
SELECT 'user ' || u.user_id FROM friendship_status AS u
 WHERE u.ledger_seq > coalesce((SELECT max(l.seq) FROM score_ledger AS l WHERE l.user_id = u.user_id), 0)
 ORDER BY u.user_id;

-- name: ledger_sum
-- severity: breach
-- A ledger row does not add up: score before, plus change, is not score after.
SELECT 'conversation ' || l.conversation_id FROM score_ledger AS l
 WHERE abs(l.score_after - l.score_before - l.delta) > 1e-4 * greatest(1, abs(l.score_after))
 ORDER BY l.conversation_id;

-- name: score_written_by_another
-- severity: warning
-- Something else wrote to friendship_status: a user's score is not where the ledger left it.
SELECT DISTINCT 'user ' || x.user_id
  FROM (SELECT l.user_id, l.score_before AS found,
               lag(l.score_after, 1, l.score_before) OVER (PARTITION BY l.user_id ORDER BY l.seq) AS left_at
          FROM score_ledger AS l
        UNION ALL
        SELECT last.user_id, u.friendship_score::float8, last.score_after
          FROM (SELECT DISTINCT ON (l.user_id) l.user_id, l.seq, l.score_after
                  FROM score_ledger AS l ORDER BY l.user_id, l.seq DESC) AS last
          LEFT JOIN friendship_status AS u ON u.user_id = last.user_id AND u.ledger_seq = last.seq) AS x
 WHERE x.found IS DISTINCT FROM x.left_at
 ORDER BY 1;

-- name: score_not_a_number
-- severity: warning
-- A user's score is no finite number, so nothing can be added to it: write it anew.
SELECT 'user ' || u.user_id FROM friendship_status AS u
 WHERE u.friendship_score::float8 IN ('NaN', 'Infinity', '-Infinity')
 ORDER BY 1;

-- name: epoch_fell
-- severity: breach
-- A claim's epoch is below one that was used already.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE e.outcome_epoch > e.claim_epoch
    OR EXISTS (SELECT FROM score_ledger AS l
                WHERE l.event_id = e.id AND l.conversation_id = e.conversation_id AND l.claim_epoch > e.claim_epoch)
    OR EXISTS (SELECT FROM child_deaths AS d WHERE {its_death} AND d.claim_epoch > e.claim_epoch)
 ORDER BY e.id;

-- name: half_a_claim
-- severity: breach
-- PROCESSING without owner and lease, or an owner or lease without PROCESSING: an older worker is still at work here.
SELECT 'event ' || e.id || ' is ' || e.status FROM conversation_events AS e
 WHERE e.claim_epoch > 0
   AND CASE WHEN e.status = 'PROCESSING' THEN e.lease_until IS NULL OR e.claimed_by IS NULL
            ELSE e.lease_until IS NOT NULL OR e.claimed_by IS NOT NULL END
 ORDER BY e.id;

-- name: pending_without_time
-- severity: breach
-- A PENDING row has no next_attempt_at.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE e.claim_epoch > 0 AND e.status = 'PENDING' AND e.next_attempt_at IS NULL
 ORDER BY e.id;

-- name: pending_without_time_by_another
-- severity: warning
-- Another program inserts PENDING rows without next_attempt_at: the retry pass takes them as due from their creation.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE e.claim_epoch = 0 AND e.status = 'PENDING' AND e.next_attempt_at IS NULL
 ORDER BY e.id;

-- name: overdue
-- severity: breach
-- An event waits far beyond its time: a lease for 15 minutes, a retry for an hour, a message for a day. No retry pass
-- runs, or what it publishes does not arrive.
SELECT 'event ' || e.id || ' is ' || e.status FROM conversation_events AS e
 WHERE e.claim_epoch > 0
   AND CASE e.status WHEN 'PROCESSING' THEN e.lease_until < clock_timestamp() - interval '15 minutes'
                     WHEN 'FAILED' THEN e.next_attempt_at < clock_timestamp() - interval '1 hour'
                     WHEN 'PENDING' THEN e.next_attempt_at < clock_timestamp() - interval '1 day' END
 ORDER BY e.id;

-- name: overdue_unclaimed
-- severity: warning
-- Events that we have never seen wait for more than a day: no consumer or no retry pass runs.
SELECT 'event ' || e.id || ' is ' || e.status FROM conversation_events AS e
 WHERE e.claim_epoch = 0
   AND CASE e.status WHEN 'PROCESSING' THEN coalesce(e.lease_until, e.updated_at) < clock_timestamp() - interval '1 day'
                     WHEN 'FAILED' THEN e.next_attempt_at < clock_timestamp() - interval '1 day'
                     WHEN 'PENDING' THEN coalesce(e.next_attempt_at, e.created_at)
                                         < clock_timestamp() - interval '1 day' END
 ORDER BY e.id;

-- name: claims_unbounded
-- severity: breach
-- An event was claimed more than 26 times without an outcome: 25 is the limit, one more may be under way.
SELECT 'event ' || e.id FROM conversation_events AS e WHERE e.claim_epoch - e.outcome_epoch > 26 ORDER BY e.id;

-- name: deaths_unbounded
-- severity: breach
-- A message killed more than two children without an outcome.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE (SELECT count(*) FROM child_deaths AS d
         WHERE {its_death} AND d.claim_epoch > e.outcome_epoch AND d.blamed) > 2
 ORDER BY e.id;

-- name: attempts_negative
-- severity: breach
-- More attempts were given back than were made.
SELECT 'event ' || e.id FROM conversation_events AS e WHERE e.attempt_count < 0 ORDER BY e.id;

-- name: parked_on_settled
-- severity: breach
-- A finished event still holds a parked message: a child's words are kept for nothing.
SELECT 'event ' || e.id FROM conversation_events AS e
 WHERE e.parked_log IS NOT NULL AND e.status IN ('PROCESSED', 'SKIPPED')
 ORDER BY e.id;

-- name: unknown_status
-- severity: warning
-- A row has a status that no program of ours writes; it is left alone.
SELECT 'event ' || e.id || ' is ' || e.status FROM conversation_events AS e
 WHERE e.status NOT IN ('PENDING', 'PROCESSING', 'PROCESSED', 'FAILED', 'SKIPPED')
 ORDER BY e.id;

-- name: rejected_body_in_pieces
-- severity: breach
-- A refused body that was kept in parts is not all there any more: somebody deleted some of them.
SELECT 'body ' || encode(r.body_sha256, 'hex') FROM rejected_messages AS r
 WHERE r.whole IS NOT NULL
   AND r.bytes <> (SELECT coalesce(sum(octet_length(p.body)), 0) FROM rejected_parts AS p WHERE p.whole = r.whole)
 ORDER BY r.body_sha256;

-- name: forgotten_is_back
-- severity: warning
-- A conversation of a user who was forgotten has a row again: another program inserted it.
SELECT 'event ' || e.id FROM conversation_events AS e
  JOIN forgotten_conversations AS f ON f.conversation_sha256 = sha256(convert_to(e.conversation_id, 'UTF8'))
 ORDER BY e.id;

-- name: idle_in_transaction
-- severity: breach
-- A session of ours holds a transaction open and does nothing in it.
SELECT 'pid ' || a.pid || ' (' || a.application_name || ')' FROM pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.application_name LIKE 'friendship-supervisor%'
   AND a.state LIKE 'idle in transaction%' AND a.state_change < clock_timestamp() - interval '2 seconds'
 ORDER BY a.pid;
