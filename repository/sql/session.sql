-- name: session
-- Bounds and habits of a session. Nothing is set behind a pooler: there another process of the server than the one that
-- the connect was told of is at work, for this statement only, and what is set would stay with whoever is next.
-- takes_writes: asked behind a pooler only. BEGIN READ WRITE undoes what another client left, but is an error on a
-- standby, and must not undo what the server, the database or the role says.
SELECT here.is_pooled,
       CASE WHEN here.is_pooled
            THEN NOT pg_is_in_recovery()
                 AND (SELECT s.reset_val = 'off' FROM pg_settings AS s WHERE s.name = 'default_transaction_read_only')
            END AS takes_writes,
       settings.*
  FROM (SELECT pg_backend_pid() <> %(server_pid)s::integer AS is_pooled) AS here
  LEFT JOIN LATERAL (
SELECT set_config('statement_timeout', %(statement_timeout)s, false),
       set_config('lock_timeout', %(lock_timeout)s, false),
       set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_timeout)s, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('TimeZone', 'UTC', false)
 WHERE NOT here.is_pooled) AS settings ON true;

-- name: begin
-- Behind a pooler the session's own isolation may be anything.
BEGIN ISOLATION LEVEL READ COMMITTED;

-- name: begin_to_write
BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;

-- name: transaction
-- The same for one transaction behind a pooler. NULL: as the server, the database and the role have it, whatever another
-- client left.
SELECT set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_timeout)s, true),
       set_config('role', NULL, true),
       set_config('search_path', NULL, true),
       set_config('synchronous_commit', NULL, true),
       set_config('TimeZone', 'UTC', true);

-- name: commit
COMMIT;

-- fragment: filled
-- Tables with columns that messages fill.
ARRAY[to_regclass('conversation_events'), to_regclass('friendship_status'), to_regclass('score_ledger')]

-- name: refused_by
-- Whether all that a constraint or an index speaks of comes from the message. No row for one of a type, of another
-- table, or one that a trigger made up; an expression is no column.
-- bare: an error has a context only where somebody's function or trigger was at work.
SELECT bool_and(coalesce(a.attname = ANY (%(columns)s::text[]), false)) AS of_message,
       current_setting('log_parameter_max_length_on_error') = '0' AS bare
  FROM (SELECT c.conrelid AS relation, c.conname AS name, unnest(c.conkey) AS number FROM pg_constraint AS c
         UNION ALL
        SELECT i.indrelid, t.relname, unnest(i.indkey::smallint[])
          FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indexrelid) AS k
  JOIN pg_class AS t ON t.oid = k.relation
  JOIN pg_namespace AS n ON n.oid = t.relnamespace
  LEFT JOIN pg_attribute AS a ON a.attrelid = k.relation AND a.attnum = k.number
 WHERE t.oid = ANY ({filled}) AND n.nspname = %(schema)s AND t.relname = %(table)s AND k.name = %(constraint)s
HAVING count(*) > 0;

-- name: lengths
-- How many characters each column that a message fills may have; none without a limit.
SELECT c.column_name::text AS name, min(c.character_maximum_length)::integer AS most
  FROM information_schema.columns AS c
  JOIN pg_namespace AS n ON n.nspname = c.table_schema
  JOIN pg_class AS t ON t.relnamespace = n.oid AND t.relname = c.table_name
 WHERE t.oid = ANY ({filled}) AND c.column_name = ANY (%(columns)s::text[]) AND c.character_maximum_length > 0
 GROUP BY 1;
