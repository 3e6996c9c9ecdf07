-- Partial: finished rows, nearly all of them, are in none of these.

CREATE INDEX IF NOT EXISTS conversation_events_due ON conversation_events (next_attempt_at) WHERE status = 'FAILED';
CREATE INDEX IF NOT EXISTS conversation_events_waiting ON conversation_events (coalesce(next_attempt_at, created_at))
    WHERE status = 'PENDING';
CREATE INDEX IF NOT EXISTS conversation_events_leased ON conversation_events (lease_until) WHERE status = 'PROCESSING';
CREATE INDEX IF NOT EXISTS conversation_events_user ON conversation_events (user_id);
