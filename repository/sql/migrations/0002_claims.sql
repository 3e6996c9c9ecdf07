-- Columns for claims, and whatever an older table lacks. Every default is a constant or now(), so no table is
-- rewritten; the lock is held for the catalogue's changes only.

ALTER TABLE conversation_events
    -- the columns of the contract, should an older table lack one
    ADD COLUMN IF NOT EXISTS bot_type text,
    ADD COLUMN IF NOT EXISTS bot_id text,
    ADD COLUMN IF NOT EXISTS bot_name text,
    ADD COLUMN IF NOT EXISTS start_time timestamptz,
    ADD COLUMN IF NOT EXISTS end_time timestamptz,
    ADD COLUMN IF NOT EXISTS conversation_log jsonb,
    ADD COLUMN IF NOT EXISTS status varchar(50) NOT NULL DEFAULT 'PENDING',
    ADD COLUMN IF NOT EXISTS attempt_count integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_attempt_at timestamptz DEFAULT now() + interval '6 hours',
    ADD COLUMN IF NOT EXISTS processed_at timestamptz,
    ADD COLUMN IF NOT EXISTS error_code varchar(50),
    ADD COLUMN IF NOT EXISTS error_details text,
    ADD COLUMN IF NOT EXISTS friendship_score_change double precision,
    ADD COLUMN IF NOT EXISTS new_friendship_level varchar(50),
    ADD COLUMN IF NOT EXISTS score_calculation_details jsonb,
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now(),
    -- what the message says and a retry by id needs
    ADD COLUMN IF NOT EXISTS agent_tag text,
    ADD COLUMN IF NOT EXISTS conversation_log_url text,
    -- the claim
    ADD COLUMN IF NOT EXISTS claim_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS outcome_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS claimed_by text,
    ADD COLUMN IF NOT EXISTS lease_until timestamptz,
    ADD COLUMN IF NOT EXISTS unexplained_takeovers integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS parked_log bytea,
    ADD COLUMN IF NOT EXISTS publish_count integer NOT NULL DEFAULT 0;

COMMENT ON COLUMN conversation_events.claim_epoch IS
    'Fencing token: a claim raises it by one, nothing lowers it. Only the holder of the newest may write an outcome.';
COMMENT ON COLUMN conversation_events.outcome_epoch IS
    'claim_epoch at the last outcome; the difference is the number of claims since.';
COMMENT ON COLUMN conversation_events.claimed_by IS 'Who holds the claim; unique per delivery.';
COMMENT ON COLUMN conversation_events.lease_until IS 'After this the claim is anyone''s.';
COMMENT ON COLUMN conversation_events.unexplained_takeovers IS
    'Takeovers in a row without an account of the holder''s death.';
COMMENT ON COLUMN conversation_events.parked_log IS
    'zlib-compressed message body, kept while it is the only durable copy of the log.';
COMMENT ON COLUMN conversation_events.publish_count IS 'Times the id was published again since the last outcome.';

ALTER TABLE friendship_status
    ADD COLUMN IF NOT EXISTS friendship_score double precision NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS friendship_level varchar(50) NOT NULL DEFAULT 'PHASE1_STRANGER',
    ADD COLUMN IF NOT EXISTS topic_metrics jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS last_interaction_date timestamptz,
    ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS ledger_seq bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN friendship_status.ledger_seq IS 'seq of this user''s newest row in score_ledger.';

-- An ORM keeps its defaults to itself: the columns are there, NOT NULL, and the table knows no default.
ALTER TABLE conversation_events
    ALTER COLUMN status SET DEFAULT 'PENDING',
    ALTER COLUMN attempt_count SET DEFAULT 0,
    ALTER COLUMN next_attempt_at SET DEFAULT now() + interval '6 hours',
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET DEFAULT now(),
    -- what may be unknown, or is cleared by an outcome
    ALTER COLUMN bot_type DROP NOT NULL,
    ALTER COLUMN bot_id DROP NOT NULL,
    ALTER COLUMN bot_name DROP NOT NULL,
    ALTER COLUMN start_time DROP NOT NULL,
    ALTER COLUMN end_time DROP NOT NULL,
    ALTER COLUMN conversation_log DROP NOT NULL,
    ALTER COLUMN next_attempt_at DROP NOT NULL,
    ALTER COLUMN processed_at DROP NOT NULL,
    ALTER COLUMN error_code DROP NOT NULL,
    ALTER COLUMN error_details DROP NOT NULL,
    ALTER COLUMN friendship_score_change DROP NOT NULL,
    ALTER COLUMN new_friendship_level DROP NOT NULL,
    ALTER COLUMN score_calculation_details DROP NOT NULL;

ALTER TABLE friendship_status
    ALTER COLUMN friendship_score SET DEFAULT 0,
    ALTER COLUMN friendship_level SET DEFAULT 'PHASE1_STRANGER',
    ALTER COLUMN topic_metrics SET DEFAULT '{}',
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN last_interaction_date DROP NOT NULL;

DO $$
DECLARE
    target regclass;
    item record;
    admits_all boolean;
    twice text;
    times bigint;
BEGIN
    -- Keys: an id that fills itself, and one row per conversation and per user.
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'conversation_events'::regclass AND attname = 'id'
                      AND NOT attisdropped AND (atthasdef OR attidentity <> '')) THEN
        CREATE SEQUENCE IF NOT EXISTS conversation_events_id_seq OWNED BY conversation_events.id;
        PERFORM setval('conversation_events_id_seq', coalesce((SELECT max(id) FROM conversation_events), 0) + 1, false);
        ALTER TABLE conversation_events ALTER COLUMN id SET DEFAULT nextval('conversation_events_id_seq');
    END IF;
    FOR item IN SELECT * FROM (VALUES ('conversation_events', 'conversation_id'), ('friendship_status', 'user_id'),
                                      ('conversation_events', 'id')) AS key(tab, col)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                        WHERE i.indrelid = item.tab::regclass AND i.indisunique AND i.indisvalid AND i.indimmediate
                          AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = item.col) THEN
            BEGIN
                EXECUTE format('CREATE UNIQUE INDEX %I ON %I (%I)', item.tab || '_' || item.col || '_once', item.tab,
                               item.col);
            EXCEPTION WHEN unique_violation THEN
                EXECUTE format('SELECT left(%2$I::text, 80), count(*) FROM %1$I WHERE %2$I IS NOT NULL GROUP BY %2$I'
                               ' ORDER BY 2 DESC, 1 LIMIT 1', item.tab, item.col) INTO twice, times;
                RAISE EXCEPTION '%.% must be unique, but % is in % rows: keep one row of each such value, then run migrate again',
                    item.tab, item.col, quote_literal(twice), times;
            END;
        END IF;
    END LOOP;

    -- Any other column that must be given is one that we, and the intake, do not know.
    FOREACH target IN ARRAY ARRAY['conversation_events'::regclass, 'friendship_status'::regclass] LOOP
        FOR item IN SELECT attname FROM pg_attribute
                     WHERE attrelid = target AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef
                       AND attidentity = '' AND attname NOT IN ('id', 'conversation_id', 'user_id')
                       AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = target AND i.indisprimary
                                          AND attnum = ANY (i.indkey))
        LOOP
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', target, item.attname);
        END LOOP;
    END LOOP;

    -- What a message may say, and what we write, must fit, or a valid message could never be stored; size NULL is any.
    -- Widening a varchar rewrites nothing. Where something is built on the column it stays as it is, unless not even
    -- our own words, up to `need` characters, would fit.
    FOR item IN SELECT c.*, a.atttypmod - 4 AS length
                  FROM (VALUES ('conversation_events', 'conversation_id', 255, 0), ('conversation_events', 'user_id', 255, 0),
                               ('friendship_status', 'user_id', 255, 0), ('conversation_events', 'bot_type', NULL, 0),
                               ('conversation_events', 'bot_id', NULL, 0), ('conversation_events', 'bot_name', NULL, 0),
                               ('conversation_events', 'agent_tag', NULL, 0),
                               ('conversation_events', 'conversation_log_url', NULL, 0),
                               ('conversation_events', 'error_details', NULL, 2000),
                               ('conversation_events', 'status', 50, 10), ('conversation_events', 'error_code', 50, 24),
                               ('conversation_events', 'new_friendship_level', 50, 19),
                               ('friendship_status', 'friendship_level', 50, 19)) AS c(tab, col, size, need)
                  JOIN pg_attribute a ON a.attrelid = c.tab::regclass AND a.attname = c.col
                 WHERE a.atttypid = 'varchar'::regtype AND a.atttypmod >= 0
                   AND (c.size IS NULL OR a.atttypmod - 4 < c.size)
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE %s', item.tab, item.col,
                           CASE WHEN item.size IS NULL THEN 'text' ELSE format('varchar(%s)', item.size) END);
        -- Not OTHERS: a lock that does not come, or a full disk, is no property of the column
        EXCEPTION WHEN feature_not_supported OR syntax_error_or_access_rule_violation OR dependent_objects_still_exist THEN
            IF item.length < item.need THEN
                RAISE EXCEPTION '%.% must hold % characters, but %: drop what uses it, then run migrate again',
                    item.tab, item.col, item.need, SQLERRM;
            END IF;
            RAISE NOTICE '%.% stays a varchar(%): %', item.tab, item.col, item.length, SQLERRM;
        END;
    END LOOP;

    -- A check of an older program that refuses one of our five states goes; any other stays.
    FOR item IN SELECT c.conname, pg_get_expr(c.conbin, c.conrelid) AS expression
                  FROM pg_constraint c
                  JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
                 WHERE c.conrelid = 'conversation_events'::regclass AND c.contype = 'c' AND a.attname = 'status'
    LOOP
        EXECUTE format('SELECT bool_and(coalesce((%s), true)) FROM (VALUES (''PENDING''::varchar(50)), (''PROCESSING''),'
                       ' (''PROCESSED''), (''FAILED''), (''SKIPPED'')) AS state(status)', item.expression)
           INTO admits_all;
        IF NOT admits_all THEN
            EXECUTE format('ALTER TABLE conversation_events DROP CONSTRAINT %I', item.conname);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'conversation_events'::regclass
                      AND conname = 'conversation_events_known_status') THEN
        -- NOT VALID: old rows are looked at later, without this lock.
        ALTER TABLE conversation_events ADD CONSTRAINT conversation_events_known_status
            CHECK (status IN ('PENDING', 'PROCESSING', 'PROCESSED', 'FAILED', 'SKIPPED')) NOT VALID;
    END IF;
END
$$;
