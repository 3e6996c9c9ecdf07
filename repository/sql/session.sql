-- name: session
-- Bounds and habits of a session. No row, and nothing set, behind a pooler: there another process of the server than the
-- one that the connect was told of is at work, for this statement only, and what is set would stay with whoever is next.
SELECT set_config('statement_timeout', %(statement_timeout)s, false),
       set_config('lock_timeout', %(lock_timeout)s, false),
       set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_timeout)s, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('TimeZone', 'UTC', false)
 WHERE pg_backend_pid() = %(server_pid)s;

-- name: begin
-- Behind a pooler the session's own isolation may be anything.
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: transaction
-- The same for one transaction behind a pooler.
SELECT set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_timeout)s, true),
       set_config('TimeZone', 'UTC', true);

-- name: commit
COMMIT;

-- name: constraint_columns
-- What a constraint speaks of; no row for one of a type, or one that a trigger made up.
SELECT a.attname::text AS name
  FROM pg_constraint AS c
  JOIN pg_class AS t ON t.oid = c.conrelid
  JOIN pg_namespace AS n ON n.oid = t.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = ANY (c.conkey)
 WHERE n.nspname = %(schema)s AND t.relname = %(table)s AND c.conname = %(constraint)s;
