"""The limits that tests of pure modules share: 300 and 375 MB, a minute a message."""

from supervisor.limits import MB, SupervisorSettings

SETTINGS = SupervisorSettings(
    children=2,
    rss_budget_bytes=300 * MB,
    rss_hard_bytes=375 * MB,
    message_deadline_s=60,
    write_budget_s=5,
    drain_timeout_s=65,
    sample_interval_s=0.1,
    max_messages=0,
    retry_every_s=0,
)
