-- Who keeps what locked. Of another role's sessions one without pg_monitor is told no times.

-- fragment: held
-- Locks of others on our tables, and on the numbers of events.
SELECT l.pid, l.mode, l.granted
  FROM pg_locks AS l
 WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND l.relation IN (SELECT to_regclass(t.name)
                        FROM unnest(ARRAY['conversation_events', 'friendship_status', 'score_ledger', 'child_deaths',
                                          'message_deaths', 'rejected_messages', 'rejected_parts',
                                          'forgotten_conversations', 'conversation_events_id_seq',
                                          pg_get_serial_sequence('conversation_events', 'id')]) AS t(name))

-- fragment: named
-- A prepared transaction blocks as pid 0, and holds locks without one.
SELECT f.rank, f.kind, nullif(f.pid, 0) AS pid, coalesce(a.application_name, '') AS application,
       coalesce(a.state, '') AS state, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age_s
  FROM found AS f LEFT JOIN pg_stat_activity AS a ON a.pid = f.pid

-- name: tables
-- Who holds a lock on a whole table that lets nobody write, or blocks one who waits for such a lock. It reads no table of
-- ours: that might wait for the same.
WITH strong AS (
    SELECT h.pid, h.granted FROM ({held}) AS h
     WHERE h.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
found AS (
    SELECT 1 AS rank, 'table' AS kind, s.pid FROM strong AS s WHERE s.granted
    UNION SELECT 1, 'table', b.pid FROM strong AS s, unnest(pg_blocking_pids(s.pid)) AS b(pid) WHERE NOT s.granted)
SELECT n.kind, n.pid, n.application, n.state, n.age_s FROM ({named}) AS n ORDER BY n.age_s DESC NULLS LAST, n.pid;

-- name: rows
-- By how sure it is:
-- row: its transaction has the event's or the user's row in hand (xmax of a row that is locked).
-- waits: blocks a session of ours that waits just now.
-- perhaps: has written, or locked rows of, our tables in a transaction of more than a second. Locks on rows are in no list.
WITH found AS (
    SELECT 2 AS rank, 'row' AS kind, l.pid FROM pg_locks AS l
     WHERE l.locktype = 'transactionid' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
       AND l.transactionid IN (SELECT e.xmax FROM conversation_events AS e
                                WHERE e.conversation_id = %(conversation_id)s::text
                               UNION ALL
                               SELECT u.xmax FROM friendship_status AS u WHERE u.user_id = %(user_id)s::text)
    UNION SELECT 3, 'waits', b.pid FROM pg_stat_activity AS a, unnest(pg_blocking_pids(a.pid)) AS b(pid)
           WHERE a.wait_event_type = 'Lock' AND starts_with(a.application_name, 'friendship-supervisor')
    UNION SELECT 4, 'perhaps', h.pid FROM ({held}) AS h WHERE h.mode IN ('RowShareLock', 'RowExclusiveLock')),
named AS ({named})
SELECT DISTINCT n.kind, n.pid, n.application, n.state, n.age_s
  FROM named AS n
 WHERE n.rank = (SELECT min(m.rank) FROM named AS m)
   AND (n.kind <> 'perhaps'
        OR (coalesce(n.age_s > 1, true) AND NOT starts_with(n.application, 'friendship-supervisor')))
 ORDER BY n.age_s DESC NULLS LAST, n.pid;
