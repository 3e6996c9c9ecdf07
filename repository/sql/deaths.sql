-- name: record
-- One death, told by the claim's owner (whose epoch the row knows, should the child have died before it read it) or by
-- an epoch that the event really had and that is not another's now. Never fenced: there may be a new holder already.
INSERT INTO child_deaths (event_id, claim_epoch, conversation_id, claimed_by, cause, blamed, died_at, host, slot, pid,
                          rss_bytes)
SELECT e.id, CASE WHEN e.claimed_by = %(claimed_by)s::text THEN e.claim_epoch ELSE %(epoch)s END, e.conversation_id,
       %(claimed_by)s::text, %(cause)s::text, %(blamed)s::boolean, %(died_at)s::timestamptz, %(host)s::text, %(slot)s, %(pid)s, %(rss_bytes)s
  FROM conversation_events AS e
 WHERE e.conversation_id = %(conversation_id)s AND %(event_id)s IN (0, e.id)
   AND (e.claimed_by = %(claimed_by)s::text OR %(epoch)s BETWEEN 1 AND e.claim_epoch - (e.claimed_by IS NOT NULL)::int)
ON CONFLICT (event_id, claim_epoch, claimed_by) DO NOTHING
RETURNING event_id;

-- name: record_unclaimed
-- One death before the claim, or in it when the claim was never committed, or after it when the event is gone. Told again it
-- is there already.
INSERT INTO message_deaths (host, pid, died_at, body_bytes, body_crc32, message_id, cause, blamed, slot, rss_bytes)
SELECT %(host)s::text, %(pid)s, %(died_at)s::timestamptz, %(body_bytes)s::bigint, %(body_crc32)s::bigint,
       %(message_id)s::text, %(cause)s::text, %(blamed)s::boolean, %(slot)s, %(rss_bytes)s::bigint
 WHERE NOT EXISTS (SELECT FROM child_deaths AS d WHERE d.claimed_by = %(claimed_by)s::text)
   AND (%(unclaimed)s OR NOT EXISTS (SELECT FROM conversation_events AS e WHERE e.conversation_id = %(conversation_id)s::text))
ON CONFLICT (host, pid, died_at) DO NOTHING
RETURNING pid;

-- fragment: this_body
-- By the checksum of its beginning, which holds its ids. Only who died while it arrived had none.
d.body_bytes = %(body_bytes)s
AND (d.body_crc32 = %(body_crc32)s OR (d.body_crc32 = 0 AND d.message_id IS NOT DISTINCT FROM %(message_id)s::text))

-- name: history
-- What is known of a body that nobody has opened yet. A death of more than a day ago was another program's.
SELECT count(*) AS deaths, count(*) FILTER (WHERE d.blamed) AS blamed,
       (array_agg(d.cause ORDER BY d.died_at DESC) FILTER (WHERE d.blamed))[1] AS last_blame,
       EXISTS (SELECT FROM conversation_events AS e
                WHERE e.conversation_id = %(message_id)s::text
                  AND (e.status = 'PROCESSING'
                       OR (e.claim_epoch > 0 AND e.updated_at > clock_timestamp() - interval '10 seconds')
                       OR EXISTS (SELECT FROM child_deaths AS c
                                   WHERE c.event_id = e.id AND c.conversation_id = e.conversation_id
                                     AND c.claim_epoch = e.claim_epoch
                                     AND c.recorded_at > clock_timestamp() - interval '10 seconds'))) AS explained
  FROM message_deaths AS d
 WHERE {this_body} AND d.died_at > clock_timestamp() - interval '1 day';

-- name: forgive
DELETE FROM message_deaths AS d WHERE {this_body};
