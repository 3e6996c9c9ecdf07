"""Every setting that can be given from outside: its option, its environment variable, its default, its meaning.

The one table behind `--help` and the reading of settings. Values stay text here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. `flag` is None where only the environment variable exists; help states the unit.

    may_be_empty: an empty value means something; elsewhere an empty variable counts as unset.
    """

    name: str
    flag: str | None
    env: str
    default: str
    metavar: str
    section: str
    help: str
    default_shown: str | None = None
    may_be_empty: bool = False

    @property
    def source(self) -> str:
        """How a message names this setting."""
        return f"{self.flag} ({self.env})" if self.flag else self.env


CONNECTIONS = "Connections"
CHILDREN = "Children"
MESSAGES = "Messages"
TIMES = "Time limits (seconds)"
RETRIES = "Retries"
STATUS = "Status"
LOGS = "Logs"
SOURCES = "Logs kept in S3"
ANALYSIS = "LLM analysis"
SCORE = "Score"

GROQ_URL = "https://api.groq.com/openai/v1"

OPTIONS: tuple[Option, ...] = (
    Option(
        "rabbitmq_url", "--rabbitmq-url", "RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/%2F", "URL",
        CONNECTIONS, "The broker, amqp or amqps. A heartbeat= in it is kept, else 60 s.",
    ),
    Option(
        "queue", "--queue", "RABBITMQ_QUEUE", "conversation_events_processing", "NAME",
        CONNECTIONS, "The queue; <queue>.dead gets what can never be processed.",
    ),
    Option(
        "database_url", "--database-url", "DATABASE_URL", "postgresql:///robot_context_handling", "URL",
        CONNECTIONS, "PostgreSQL, any libpq URL.",
    ),
    Option(
        "memory_api_url", "--memory-api-url", "MEMORY_API_URL", "http://pika-mem0:6699", "URL",
        CONNECTIONS, "Base of the Memory API; the call is POST /extract_facts.",
    ),
    Option(
        "children", "--children", "FRIENDSHIP_CHILDREN", "8", "N",
        CHILDREN, "Consumer children to keep running.",
    ),
    Option(
        "rss_mb", "--rss-mb", "FRIENDSHIP_RSS_MB", "300", "MB",
        CHILDREN, "RSS budget of one child, at least twice an idle one: over it after a message, it is "
        "replaced, one at a time.",
    ),
    Option(
        "rss_hard_mb", "--rss-hard-mb", "FRIENDSHIP_RSS_HARD_MB", "", "MB",
        CHILDREN, "No child may ever be above this: before, it is frozen, its message settled, and killed.",
        "1.25 x budget",
    ),
    Option(
        "max_messages", "--max-messages", "FRIENDSHIP_MAX_MESSAGES", "0", "N",
        CHILDREN, "Replace a child after about N messages; 0: never.",
    ),
    Option(
        "max_message_mb", "--max-message-mb", "MAX_MESSAGE_MB", "64", "MB",
        MESSAGES, "A larger body is refused unparsed. Twice this and an idle child must fit the hard budget.",
    ),
    Option(
        "allow_overcommit", "--allow-overcommit", "FRIENDSHIP_ALLOW_OVERCOMMIT", "off", "",
        CHILDREN, "Start although the memory arithmetic says no.",
    ),
    Option(
        "sample_interval_s", "--sample-interval", "FRIENDSHIP_SAMPLE_INTERVAL", "0.1", "S",
        CHILDREN, "Longest pause between two RSS readings; shorter by itself near the budget.",
    ),
    Option(
        "memory_api_timeout_s", "--memory-api-timeout", "MEMORY_API_TIMEOUT_SECONDS", "60", "S",
        TIMES, "Total time of one Memory API call, from connect to the last byte.",
    ),
    Option(
        "message_deadline_s", "--message-deadline", "FRIENDSHIP_MESSAGE_DEADLINE", "", "S",
        TIMES, "A child longer than this on one message is killed; waiting for a lost database or broker "
        "does not count.",
        "sum of the time limits in use + 30",
    ),
    Option(
        "lease_s", "--lease", "FRIENDSHIP_LEASE", "", "S",
        TIMES, "After this a claim is anyone's.", "message deadline + 60",
    ),
    Option(
        "drain_timeout_s", "--drain-timeout", "FRIENDSHIP_DRAIN_TIMEOUT", "", "S",
        TIMES, "After SIGTERM, how long children may finish.", "message deadline + 5",
    ),
    Option(
        "retry_every_s", "--retry-every", "FRIENDSHIP_RETRY_EVERY", "300", "S",
        RETRIES, "Run the retry pass this often; 0 leaves it to cron.",
    ),
    Option(
        "breaker", "--breaker", "FRIENDSHIP_BREAKER", "on", "on|off",
        RETRIES, "Stop taking messages while the Memory API is down; they stay in the queue.",
    ),
    Option(
        "max_attempts", None, "MAX_ATTEMPTS", "5", "N",
        RETRIES, "Attempts before a failure is permanent.",
    ),
    Option(
        "retry_base_hours", None, "RETRY_BASE_HOURS", "6", "HOURS",
        RETRIES, "Wait after the first failure; doubles with each.",
    ),
    Option(
        "retry_max_hours", None, "RETRY_MAX_HOURS", "48", "HOURS",
        RETRIES, "Longest wait.",
    ),
    Option(
        "listen", "--listen", "FRIENDSHIP_LISTEN", "127.0.0.1:9464", "HOST:PORT",
        STATUS, "Status page, /status, /metrics, /healthz and /readyz; empty: none. A taken port is tried again.",
        may_be_empty=True,
    ),
    Option(
        "allowed_hosts", None, "FRIENDSHIP_ALLOWED_HOSTS", "", "LIST",
        STATUS, "Comma list of host names that requests may ask for, beside localhost and IP addresses.",
    ),
    Option(
        "log_format", "--log-format", "FRIENDSHIP_LOG_FORMAT", "", "text|json",
        LOGS, "One event, one line.", "text on a terminal, else json",
    ),
    Option(
        "log_level", "--log-level", "FRIENDSHIP_LOG_LEVEL", "info", "LEVEL",
        LOGS, "debug, info, warning or error.",
    ),
    Option(
        "s3_buckets", None, "S3_ALLOWED_BUCKETS", "", "LIST",
        SOURCES, "Comma list of the buckets that logs may be read from, or written to by publish; needs the extra s3. "
        "Unset: none, and no S3 at all. Credentials and region come from where AWS's tools look (AWS_ACCESS_KEY_ID, "
        "AWS_PROFILE, a role ...).",
    ),
    Option(
        "s3_endpoint_url", None, "S3_ENDPOINT_URL", "", "URL",
        SOURCES, "Base of a server other than AWS: MinIO, Ceph ...", "AWS, in the region",
    ),
    Option(
        "s3_addressing_style", None, "S3_ADDRESSING_STYLE", "auto", "STYLE",
        SOURCES, "Where a bucket's name stands: path, virtual (in the host's name), or auto: path with an endpoint, "
        "else virtual.",
    ),
    Option(
        "log_fetch_timeout_s", None, "LOG_FETCH_TIMEOUT_SECONDS", "30", "S",
        SOURCES, "Total time of reading one log, from connect to the last byte.",
    ),
    Option(
        "llm_analysis", None, "LLM_ANALYSIS_ENABLED", "false", "true|false",
        ANALYSIS, "Ask an LLM how many questions the child asked and in what mood. What it said goes to that server.",
    ),
    Option(
        "groq_api_key", None, "GROQ_API_KEY", "", "KEY",
        ANALYSIS, "Sent as a bearer token. A secret; needed unless GROQ_BASE_URL names another server.",
    ),
    Option(
        "groq_base_url", None, "GROQ_BASE_URL", GROQ_URL, "URL",
        ANALYSIS, "Base of any server with OpenAI's POST /chat/completions.",
    ),
    Option(
        "groq_model", None, "GROQ_MODEL", "llama-3.3-70b-versatile", "NAME",
        ANALYSIS, "The model.",
    ),
    Option(
        "llm_timeout_s", None, "LLM_TIMEOUT_SECONDS", "20", "S",
        ANALYSIS, "Total time of one call; after it the event gets 0 questions and a neutral mood.",
    ),
    Option(
        "llm_log_chars", None, "LLM_LOG_CHARS", "12000", "N",
        ANALYSIS, "Characters of a conversation that are shown at most; its middle is left out.",
    ),
    Option(
        "skip_bot_types", None, "SKIP_BOT_TYPES", "NEXT_LESSON", "LIST",
        SCORE, "Comma list of bot types that are SKIPPED without any call.",
        may_be_empty=True,
    ),
    Option("score_per_turn", None, "SCORE_PER_TURN", "0.5", "POINTS", SCORE, "Points of a turn."),
    Option("score_per_question", None, "SCORE_PER_QUESTION", "3", "POINTS", SCORE, "Points of a child's question."),
    Option("score_per_fact", None, "SCORE_PER_FACT", "5", "POINTS", SCORE, "Points of a new fact."),
    Option(
        "score_emotion", None, "SCORE_EMOTION", "interesting=15,boring=-15", "LIST",
        SCORE, "Points of an emotion.",
    ),
    Option(
        "level_thresholds", None, "LEVEL_THRESHOLDS", "100,500", "A,B",
        SCORE, "Total scores at which an acquaintance and a friend begin.",
    ),
)  # fmt: skip

BY_NAME = {option.name: option for option in OPTIONS}
