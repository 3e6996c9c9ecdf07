-- Who is connected to this database and what for. No query text: it may hold a child's words. Of sessions of other roles
-- a role without pg_monitor is told neither state nor times.

-- name: connections
SELECT a.application_name AS application, a.state, count(*) AS sessions
  FROM pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
 GROUP BY 1, 2 ORDER BY 1, 2;

-- name: transactions
-- Open ones, the longest first. idle_s: since it last did anything.
SELECT a.pid, a.application_name AS application, a.state,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age_s,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS idle_s
  FROM pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()
   AND a.xact_start IS NOT NULL AND a.state IS NOT NULL
 ORDER BY a.xact_start;

-- name: waiting
-- Locks that are not had yet, and who is in the way. Seen by every role.
SELECT a.pid, a.application_name AS application,
       extract(epoch FROM clock_timestamp() - min(l.waitstart))::float8 AS waits_s,
       (SELECT array_agg(b.pid ORDER BY b.pid) FROM unnest(pg_blocking_pids(a.pid)) AS b(pid)) AS blocked_by,
       ARRAY(SELECT DISTINCT o.application_name FROM pg_stat_activity AS o
              WHERE o.pid = ANY (pg_blocking_pids(a.pid)) ORDER BY 1) AS blockers
  FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE NOT l.granted AND a.datname = current_database() AND a.pid <> pg_backend_pid()
 GROUP BY a.pid, a.application_name
 ORDER BY 3 DESC NULLS LAST;
