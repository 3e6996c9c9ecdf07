-- The two tables as the program before this one made them. Where they exist already, they stay as they are here
-- and the next migration brings them to what is needed.

CREATE TABLE IF NOT EXISTS conversation_events (
    id serial PRIMARY KEY,
    conversation_id varchar(255) NOT NULL UNIQUE,
    user_id varchar(255) NOT NULL,
    bot_type text,
    bot_id text,
    bot_name text,
    start_time timestamptz,
    end_time timestamptz,
    conversation_log jsonb,
    status varchar(50) NOT NULL DEFAULT 'PENDING',
    attempt_count integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT now() + interval '6 hours',
    processed_at timestamptz,
    error_code varchar(50),
    error_details text,
    friendship_score_change double precision,
    new_friendship_level varchar(50),
    score_calculation_details jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS friendship_status (
    user_id varchar(255) PRIMARY KEY,
    friendship_score double precision NOT NULL DEFAULT 0,
    friendship_level varchar(50) NOT NULL DEFAULT 'PHASE1_STRANGER',
    topic_metrics jsonb NOT NULL DEFAULT '{}',
    last_interaction_date timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
