-- What is said of an event's row in more than one file.

-- fragment: log_in_row
-- A list with something in it. Only opening the value tells, whatever its size.
coalesce(jsonb_typeof(e.conversation_log) = 'array' AND e.conversation_log <> '[]', false)

-- fragment: log_durable
-- The row keeps the log. A URL does not count: nobody has seen whether there is anything behind it.
(e.parked_log IS NOT NULL OR {log_in_row})

-- fragment: lease_end
-- An older worker leaves no lease.
coalesce(e.lease_until, e.updated_at + interval '30 minutes', e.created_at + interval '30 minutes', '-infinity')

-- fragment: sha256
sha256(convert_to(%(conversation_id)s::text, 'UTF8'))
