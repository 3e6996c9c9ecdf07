-- Who keeps rows or tables of ours locked. Row locks leave no trace but the table's: whoever locks a row holds ROW SHARE or
-- more on its table until the transaction ends.

-- name: write
-- In a transaction. Another's lock on a whole table refuses it at once, locks on rows do not.
LOCK TABLE conversation_events, friendship_status, score_ledger, child_deaths, message_deaths, rejected_messages
   IN ROW EXCLUSIVE MODE NOWAIT;

-- name: read
-- Likewise, of what a worker may only read.
LOCK TABLE forgotten_conversations IN ACCESS SHARE MODE NOWAIT;

-- name: holders
-- Transactions of more than a second that may be in the way, the oldest first. Of another role's sessions one without
-- pg_monitor is told no times. A prepared transaction has no session.
SELECT l.pid, coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age_s,
       array_agg(DISTINCT l.relation::regclass::text ORDER BY l.relation::regclass::text) AS tables
  FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.granted AND l.mode <> 'AccessShareLock'
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND l.relation IN (SELECT to_regclass(t.name)
                        FROM unnest(ARRAY['conversation_events', 'friendship_status', 'score_ledger', 'child_deaths',
                                          'message_deaths', 'rejected_messages', 'forgotten_conversations']) AS t(name))
   AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND coalesce(a.xact_start < clock_timestamp() - interval '1 second', true)
 GROUP BY l.pid, a.application_name, a.state, a.xact_start
 ORDER BY a.xact_start NULLS LAST, l.pid;
