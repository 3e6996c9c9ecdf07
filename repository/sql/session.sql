-- name: session
-- Bounds and habits of a session. A plain SET: behind PgBouncer in transaction mode give these to the role as well
-- (ALTER ROLE ... SET), as it may land on another server session than the next statement does.
SELECT set_config('statement_timeout', %(statement_timeout)s, false),
       set_config('lock_timeout', %(lock_timeout)s, false),
       set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_timeout)s, false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('TimeZone', 'UTC', false);

-- name: transaction
-- The same bounds for one transaction: these hold behind PgBouncer too, where locks are held over several statements.
SELECT set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_timeout)s, true);
