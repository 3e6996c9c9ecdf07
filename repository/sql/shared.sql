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

-- fragment: this_event
-- Which row, of which conversation and whose: a number alone comes again after a restore.
e.id = %(event_id)s AND e.conversation_id = %(conversation_id)s AND e.user_id = %(user_id)s

-- fragment: its_death
-- A death belongs to the conversation, too, for the same reason.
d.event_id = e.id AND d.conversation_id = e.conversation_id

-- fragment: sha256
sha256(convert_to(%(conversation_id)s::text, 'UTF8'))
