"""The database: events and their state machine, scores and their ledger, migrations."""
