-- name: keep
INSERT INTO rejected_messages AS r (body_sha256, body, reason, message_id, bytes)
VALUES (sha256(%(body)b::bytea), %(body)b::bytea, %(reason)s, %(message_id)s, %(bytes)s)
ON CONFLICT (body_sha256) DO UPDATE
   SET hits = r.hits + 1, last_seen = clock_timestamp(), reason = excluded.reason,
       message_id = coalesce(excluded.message_id, r.message_id);
