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
ON CONFLICT (event_id, claim_epoch) DO NOTHING
RETURNING event_id;
