-- fragment: once
-- A body that is kept already is only counted.
ON CONFLICT (body_sha256) DO UPDATE
   SET hits = r.hits + 1, last_seen = clock_timestamp(), reason = excluded.reason,
       message_id = coalesce(excluded.message_id, r.message_id)

-- name: keep
INSERT INTO rejected_messages AS r (body_sha256, body, reason, message_id, bytes)
VALUES (sha256(%(body)b::bytea), %(body)b::bytea, %(reason)s, %(message_id)s, %(bytes)s)
{once};

-- name: forget_unfinished
-- Parts of calls that never came to their end. Twice the time after which `keep_whole` takes none of them any more.
DELETE FROM rejected_parts AS p
 WHERE p.kept_at < clock_timestamp() - interval '2 hours'
   AND NOT EXISTS (SELECT FROM rejected_messages AS r WHERE r.whole = p.whole);

-- name: keep_part
INSERT INTO rejected_parts (whole, part, body) VALUES (%(whole)s, %(part)s, %(body)b::bytea);

-- name: keep_whole
-- Make the parts one body, if they are all there: a failover may have lost some, and those of long ago may be going.
-- Parts of a body that is kept already are not needed.
WITH complete AS (
    SELECT FROM rejected_parts AS p WHERE p.whole = %(whole)s
    HAVING coalesce(sum(octet_length(p.body)), 0) = %(bytes)s::bigint
       AND coalesce(min(p.kept_at) > clock_timestamp() - interval '1 hour', true)),
kept AS (
    INSERT INTO rejected_messages AS r (body_sha256, whole, reason, message_id, bytes)
    SELECT %(sha256)b::bytea, %(whole)s::uuid, %(reason)s::text, %(message_id)s::text, %(bytes)s::bigint FROM complete
    {once}
    RETURNING r.whole),
spare AS (
    DELETE FROM rejected_parts AS p USING kept
     WHERE p.whole = %(whole)s::uuid AND kept.whole IS DISTINCT FROM p.whole)
SELECT TRUE AS kept FROM kept;

-- name: kept
-- What is kept, oldest first; of a body only its size.
SELECT r.body_sha256 AS sha256, r.reason, r.message_id, r.bytes, r.hits, r.first_seen, r.last_seen
  FROM rejected_messages AS r
 ORDER BY r.first_seen, r.body_sha256;

-- name: slice
-- A piece of a body, from 0; of one that is in parts, the part of this number. No row after the last.
SELECT x.piece
  FROM (SELECT CASE WHEN r.whole IS NOT NULL
                    THEN (SELECT p.body FROM rejected_parts AS p
                           WHERE p.whole = r.whole AND p.part = %(number)s::integer)
                    WHEN %(number)s::bigint * %(size)s::bigint < octet_length(r.body)
                    THEN substring(r.body FROM %(number)s::integer * %(size)s::integer + 1 FOR %(size)s::integer)
               END AS piece
          FROM rejected_messages AS r WHERE r.body_sha256 = %(sha256)b::bytea) AS x
 WHERE x.piece IS NOT NULL;

-- name: drop
WITH gone AS (DELETE FROM rejected_messages AS r WHERE r.body_sha256 = %(sha256)b::bytea RETURNING r.whole),
parts AS (DELETE FROM rejected_parts AS p USING gone WHERE p.whole = gone.whole)
SELECT TRUE AS dropped FROM gone;
