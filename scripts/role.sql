-- Least privilege: two roles without a login, to be granted to the users that programs and people log in as.
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f scripts/role.sql
--   psql "$DATABASE_URL" -c "CREATE ROLE scorer LOGIN PASSWORD '...' IN ROLE friendship_worker"
--
-- Run it as the owner of the tables (who also runs `migrate`), with CREATEROLE when the roles are new; after `migrate`,
-- and again after each later one. Running it again changes nothing.
--
-- friendship_worker    `run`, `retry`, `check`: no DDL, and of the ledger only INSERT and SELECT
-- friendship_operator  `events`, `dead`, `prune`, `forget`, `check`: may delete, and can write no score
--
-- Other names: -v worker=NAME -v operator=NAME.

\if :{?worker}
\else
    \set worker friendship_worker
\endif
\if :{?operator}
\else
    \set operator friendship_operator
\endif

BEGIN;

SELECT format('CREATE ROLE %I NOLOGIN', name) FROM (VALUES (:'worker'), (:'operator')) AS wanted(name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

SELECT format('GRANT USAGE ON SCHEMA %I TO %I, %I', relnamespace::regnamespace, :'worker', :'operator')
  FROM pg_class WHERE oid = 'conversation_events'::regclass \gexec

-- What an earlier version of this file granted and this one does not
REVOKE ALL ON conversation_events, friendship_status, score_ledger, child_deaths, message_deaths, rejected_messages,
              rejected_parts, forgotten_conversations, friendship_migrations
  FROM :"worker", :"operator";

GRANT SELECT, INSERT, UPDATE ON conversation_events, friendship_status, rejected_messages TO :"worker";
GRANT SELECT, INSERT, DELETE ON message_deaths, rejected_parts TO :"worker";
GRANT SELECT, INSERT ON score_ledger, child_deaths TO :"worker";
GRANT SELECT ON forgotten_conversations, friendship_migrations TO :"worker";

GRANT SELECT, UPDATE, DELETE ON conversation_events TO :"operator";
GRANT SELECT, DELETE ON friendship_status, score_ledger, child_deaths, message_deaths, rejected_messages,
                        rejected_parts TO :"operator";
GRANT SELECT, INSERT ON forgotten_conversations TO :"operator";
GRANT SELECT ON friendship_migrations TO :"operator";

-- The serial number of a new event, whoever owns its sequence; an identity column needs no grant
SELECT format('GRANT USAGE ON SEQUENCE %s TO %I', q.oid::regclass, :'worker')
  FROM pg_attribute AS a
  JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
  JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
  JOIN pg_class AS q ON q.oid = d.refobjid AND q.relkind = 'S'
 WHERE a.attrelid = 'conversation_events'::regclass AND a.attname = 'id' \gexec

COMMIT;

-- PostgreSQL 14 lets everybody create tables in the schema public
SELECT format('%s can still create tables: REVOKE CREATE ON SCHEMA %s FROM PUBLIC', role, space) AS "warning"
  FROM (VALUES (:'worker'), (:'operator')) AS roles(role),
       (SELECT relnamespace::regnamespace AS space FROM pg_class WHERE oid = 'conversation_events'::regclass) AS found
 WHERE has_schema_privilege(role, space::oid, 'CREATE');
