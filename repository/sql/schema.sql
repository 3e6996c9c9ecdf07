-- name: lock
-- One `migrate` at a time in this database; given back with the transaction, so it works behind PgBouncer.
SELECT pg_advisory_xact_lock(7165310921745031);

-- name: create_book
CREATE TABLE IF NOT EXISTS friendship_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- name: book_exists
-- A standby says that its transactions are read-only.
SELECT to_regclass('friendship_migrations') IS NOT NULL AS found,
       current_setting('transaction_read_only')::boolean AS read_only;

-- name: version
SELECT coalesce(max(version), 0) AS version FROM friendship_migrations;

-- name: applied
SELECT version FROM friendship_migrations WHERE version = %(version)s;

-- name: note
INSERT INTO friendship_migrations (version, name) VALUES (%(version)s, %(name)s);
