-- name: look
-- Who keeps what locked, by how sure that is:
-- table: holds, or waits for, a lock on one of our tables, or on the numbers of events, that lets nobody write; or blocks
--        one who waits for it.
-- row: its transaction has the event's or the user's row in hand (xmax of a row that is locked).
-- waits: blocks a session of ours that waits just now.
-- perhaps: has written, or locked rows of, our tables in a transaction of more than a second. Locks on rows are in no list.
-- Of another role's sessions one without pg_monitor is told no times. A prepared transaction has no pid.
WITH ours AS (
    SELECT to_regclass(t.name)::oid AS relation
      FROM unnest(ARRAY['conversation_events', 'friendship_status', 'score_ledger', 'child_deaths', 'message_deaths',
                        'rejected_messages', 'rejected_parts', 'forgotten_conversations',
                        pg_get_serial_sequence('conversation_events', 'id')]) AS t(name)),
held AS (
    SELECT l.pid, l.mode, l.granted
      FROM pg_locks AS l
     WHERE l.locktype = 'relation' AND l.relation IN (SELECT ours.relation FROM ours)
       AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
       AND l.pid IS DISTINCT FROM pg_backend_pid()),
strong AS (
    SELECT h.pid, h.granted FROM held AS h
     WHERE h.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
found AS (
    SELECT 1 AS rank, 'table' AS kind, s.pid FROM strong AS s WHERE s.granted
    UNION SELECT 1, 'table', b.pid FROM strong AS s, unnest(pg_blocking_pids(s.pid)) AS b(pid) WHERE NOT s.granted
    UNION SELECT 2, 'row', l.pid FROM pg_locks AS l
           WHERE l.locktype = 'transactionid' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
             AND l.transactionid IN (
                 SELECT e.xmax FROM conversation_events AS e WHERE e.conversation_id = %(conversation_id)s::text
                 UNION ALL
                 SELECT u.xmax FROM friendship_status AS u WHERE u.user_id = %(user_id)s::text)
    UNION SELECT 3, 'waits', b.pid FROM pg_stat_activity AS a, unnest(pg_blocking_pids(a.pid)) AS b(pid)
           WHERE a.wait_event_type = 'Lock' AND starts_with(a.application_name, 'friendship-supervisor')
    UNION SELECT 4, 'perhaps', h.pid FROM held AS h WHERE h.mode IN ('RowShareLock', 'RowExclusiveLock')),
-- a prepared transaction blocks as pid 0, and holds locks as none
named AS (
    SELECT f.rank, f.kind, nullif(f.pid, 0) AS pid, coalesce(a.application_name, '') AS application,
           coalesce(a.state, '') AS state, a.xact_start
      FROM found AS f LEFT JOIN pg_stat_activity AS a ON a.pid = f.pid)
SELECT DISTINCT n.kind, n.pid, n.application, n.state,
       extract(epoch FROM clock_timestamp() - n.xact_start)::float8 AS age_s
  FROM named AS n
 WHERE n.rank = (SELECT min(m.rank) FROM named AS m)
   AND (n.kind <> 'perhaps' OR (coalesce(n.xact_start < clock_timestamp() - interval '1 second', true)
                                AND NOT starts_with(n.application, 'friendship-supervisor')))
 ORDER BY age_s DESC NULLS LAST, n.pid;
