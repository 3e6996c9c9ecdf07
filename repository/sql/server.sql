-- What `check` asks about the server, the role and the session. All of it is visible to every role, and costs no scan.

-- name: server
SELECT current_setting('server_version_num')::integer AS version_number,
       current_setting('server_version') AS version,
       pg_is_in_recovery() AS in_recovery,
       current_setting('transaction_read_only')::boolean AS read_only,
       current_setting('server_encoding') AS encoding,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync')::boolean AS fsync,
       current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('is_superuser')::boolean AS superuser,
       current_user::text AS role,
       current_database()::text AS database,
       coalesce((SELECT s.ssl FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()), false) AS encrypted,
       extract(epoch FROM clock_timestamp())::float8 AS now_s;

-- name: seats
-- Connections that count against max_connections. free: for sessions of this role, as the server, the database and the
-- role each limit them; NULL is no limit.
SELECT current_setting('max_connections')::integer AS most,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
       - coalesce(current_setting('reserved_connections', true)::integer, 0) - taken.everywhere AS free_in_server,
       CASE WHEN d.datconnlimit >= 0 THEN d.datconnlimit - taken.in_database END AS free_in_database,
       CASE WHEN r.rolconnlimit >= 0 THEN r.rolconnlimit - taken.by_role END AS free_for_role,
       taken.everywhere AS taken, taken.ours
  FROM (SELECT count(*) FILTER (WHERE a.pid <> pg_backend_pid()) AS everywhere,
               count(*) FILTER (WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()) AS in_database,
               count(*) FILTER (WHERE a.usename = current_user AND a.pid <> pg_backend_pid()) AS by_role,
               count(*) FILTER (WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                                  AND starts_with(a.application_name, 'friendship-supervisor')) AS ours
          FROM pg_stat_activity AS a
         -- autovacuum has no user, a physical replica no database: neither takes a seat
         WHERE a.usesysid IS NOT NULL AND a.datid IS NOT NULL) AS taken
  JOIN pg_database AS d ON d.datname = current_database()
  JOIN pg_roles AS r ON r.rolname = current_user;

-- name: rights
-- Which of these privileges the role has on those of these tables that are there.
SELECT t.name, p.privilege
  FROM unnest(%(tables)s::text[]) AS t(name), unnest(%(privileges)s::text[]) AS p(privilege)
 WHERE to_regclass(t.name) IS NOT NULL AND has_table_privilege(to_regclass(t.name), p.privilege);

-- name: present
SELECT t.name FROM unnest(%(tables)s::text[]) AS t(name) WHERE to_regclass(t.name) IS NOT NULL;

-- fragment: numbering
-- Where a new event's number comes from: the sequence of the column's default, owned by it or not, or of its identity.
SELECT q.oid, a.attidentity, a.atttypid
  FROM pg_attribute AS a
  LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  JOIN pg_depend AS d
    ON (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass)
    OR (d.classid = 'pg_class'::regclass AND d.deptype = 'i'
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
  JOIN pg_class AS q ON q.relkind = 'S' AND q.oid IN (d.objid, d.refobjid)
 WHERE a.attrelid = to_regclass('conversation_events') AND a.attname = 'id'

-- name: sequence
-- The serial number of a new event; an identity column needs no grant, and no sequence is no row.
SELECT n.oid::regclass::text AS name, has_sequence_privilege(n.oid, 'USAGE') AS granted
  FROM ({numbering}) AS n WHERE n.attidentity = '';

-- name: serial_numbers
-- Which part of the serial numbers is used up: of the sequence's, or of those that the column holds. A role without
-- rights on the sequence is not told. by_hand: the end is neither type's, but a MAXVALUE.
SELECT m.name, q.last_value::float8 / least(q.max_value, m.most) AS used, q.max_value < m.most AS by_hand
  FROM pg_sequences AS q
  JOIN (SELECT n.oid, n.oid::regclass::text AS name,
               CASE WHEN 'smallint'::regtype IN (n.atttypid, s.seqtypid) THEN 32767
                    WHEN 'integer'::regtype IN (n.atttypid, s.seqtypid) THEN 2147483647
                    ELSE 9223372036854775807 END AS most
          FROM ({numbering}) AS n JOIN pg_sequence AS s ON s.seqrelid = n.oid) AS m
    ON m.oid = format('%I.%I', q.schemaname, q.sequencename)::regclass
 WHERE NOT q.cycle AND q.last_value IS NOT NULL
 ORDER BY used DESC LIMIT 1;

-- name: row_security
-- Tables of which this role may see, or write, only some of the rows.
SELECT t.name FROM unnest(%(tables)s::text[]) AS t(name)
 WHERE to_regclass(t.name) IS NOT NULL AND row_security_active(to_regclass(t.name)::oid);

-- name: triggers
-- Other people's code that runs in our transactions.
SELECT t.tgname::text AS name, t.tgrelid::regclass::text AS table
  FROM pg_trigger AS t
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
   AND t.tgrelid IN (SELECT to_regclass(x.name) FROM unnest(%(tables)s::text[]) AS x(name))
 ORDER BY 2, 1;

-- name: unleased
-- PROCESSING without a lease: a worker that knows no claims is, or was, at work here after `migrate`.
SELECT count(*) AS events, max(e.updated_at) AS last_at FROM conversation_events AS e
 WHERE e.status = 'PROCESSING' AND e.lease_until IS NULL;

-- name: strange_scores
-- Users of the newest ledger rows whose score is not where the ledger left it. Each step goes through an index, so a
-- ledger of any size is asked in the same time; `check --invariants` asks about all users.
WITH recent AS (SELECT l.user_id FROM score_ledger AS l ORDER BY l.event_id DESC LIMIT %(rows)s),
users AS (SELECT DISTINCT recent.user_id FROM recent)
SELECT users.user_id
  FROM users
 CROSS JOIN LATERAL (SELECT l.seq, l.score_after FROM score_ledger AS l
                      WHERE l.user_id = users.user_id ORDER BY l.seq DESC LIMIT 1) AS last
  LEFT JOIN friendship_status AS u ON u.user_id = users.user_id AND u.ledger_seq = last.seq
 WHERE u.friendship_score::float8 IS DISTINCT FROM last.score_after
 ORDER BY 1;

-- name: writers
-- Sessions of other programs that hold a lock for writing on our tables now.
SELECT a.application_name AS application, count(DISTINCT a.pid) AS sessions
  FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.granted AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock',
                                                             'ExclusiveLock', 'AccessExclusiveLock')
   AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
   AND l.relation IN (SELECT to_regclass(x.name) FROM unnest(%(tables)s::text[]) AS x(name))
   AND NOT starts_with(a.application_name, 'friendship-supervisor')
   AND a.usesysid IS NOT NULL
 GROUP BY 1 ORDER BY 1;
