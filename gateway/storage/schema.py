"""The tables, as SQLAlchemy Core metadata. Their history lives in `migrations/`; a test holds the two together.

Times are integer milliseconds since the epoch, UTC. Within `jobs` the small columns come first: SQLite reads a row from
its start, and a filter on a column behind a large blob would walk through the blob.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
)

from gateway.storage.words import String, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("number", Float, nullable=False),
    Column("owner", String, nullable=False),
    Column("client_id", String),
    Column("state", String, nullable=False),
    Column("runner", String),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("hidden", Boolean, nullable=False),
    Column("told", Boolean, nullable=False),
    Column("wish", String),
    Column("workflow_id", String),
    Column("reason", Text),
    Column("changes", LargeBinary),
    Column("secrets", LargeBinary),
    Column("summary", LargeBinary),
    Column("outputs_to_execute", LargeBinary, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("extra_data", LargeBinary, nullable=False),
    Column("prompt", LargeBinary, nullable=False),
    Column("entry", LargeBinary),
    # The unfinished are the rows without an end; the history is read by time of end, of everyone or of one owner.
    Index("ix_jobs_ended_at", "ended_at", "seq"),
    Index("ix_jobs_history", "hidden", "ended_at", "seq"),
    Index("ix_jobs_owner_history", "owner", "hidden", "ended_at", "seq"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("runner", String, nullable=False),
    Column("runner_prompt_id", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("reason", Text),
    Column("changes", LargeBinary),
)

files = Table(
    "files",
    metadata,
    Column("owner", String, primary_key=True),
    Column("type", String, primary_key=True),
    Column("subfolder", String, primary_key=True),
    Column("filename", String, primary_key=True),
    Column("runner", String, nullable=False),
    Column("runner_subfolder", String, nullable=False),
    Column("runner_filename", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("unclaimed", Boolean, nullable=False),
    Column("lost", Boolean, nullable=False),
    Column("content_hash", String),
    Column("size", BigInteger),
    Index("ix_files_job_id", "job_id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("owner", String, primary_key=True),
    Column("type", String, primary_key=True),
    Column("subfolder", String, primary_key=True),
    Column("filename", String, primary_key=True),
    Column("content_hash", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
)

# What was learned of runners, models and kinds of jobs, as JSON.
learned = Table(
    "learned",
    metadata,
    Column("topic", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# A token's secret is not here, only its digest; nor is a browser session's.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("digest", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("weight", Float, nullable=False),
    Column("priority_ceiling", Integer),
    Column("limits", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("replaced_by", String),
    Column("webhook", Text),
)

logins = Table(
    "logins",
    metadata,
    Column("digest", String, primary_key=True),
    Column("token_digest", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("token_id", String),
    Column("token_name", String),
    Column("owner", String, nullable=False),
    Column("address", String),
    Column("action", String, nullable=False),
    Column("target", String, nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_audit_at", "at"),
)

# A workflow's job has the workflow's id: where it stands, when it began and how it ended is in its row of `jobs`.
workflows = Table(
    "workflows",
    metadata,
    Column("id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("tags", LargeBinary, nullable=False),
    Column("template_id", String),
    Column("template_version", Integer),
    Column("seed", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("refused", String),
    Column("refusal", LargeBinary),
    Column("params", LargeBinary, nullable=False),
    Column("graph", LargeBinary, nullable=False),
    Column("terms", LargeBinary, nullable=False),
    Index("ix_workflows_owner", "owner", "seq"),
    Index("ix_workflows_answered_at", "answered_at"),
)

templates = Table(
    "templates",
    metadata,
    Column("id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_templates_owner", "owner", "seq"),
)

template_versions = Table(
    "template_versions",
    metadata,
    Column("template_id", String, ForeignKey("templates.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("description", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Runners that were made over the API; their headers are sealed.
runners = Table(
    "runners",
    metadata,
    Column("id", String, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("tags", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("headers", LargeBinary, nullable=False),
)

# What the API says of runners of the configuration, which has all else about them.
configured_runners = Table(
    "configured_runners",
    metadata,
    Column("name", String, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("status", String),
    Column("instead_of", String),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("resource_id", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status", Integer),
    Column("answer", LargeBinary),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

# The outbox of webhooks. What waits is found by its receiver in order, the log by its owner or its job.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("message_id", String, nullable=False),
    Column("line", String, nullable=False),
    Column("target", String, nullable=False),
    Column("job_id", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("url", String, nullable=False),
    Column("event", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("status", Integer),
    Column("error", Text),
    Column("body", LargeBinary, nullable=False),
    Index("ix_webhook_deliveries_seq", "seq"),
    Index("ix_webhook_deliveries_waiting", "state", "target", "seq"),
    Index("ix_webhook_deliveries_line", "line", "state"),
    Index("ix_webhook_deliveries_job", "job_id", "seq"),
    Index("ix_webhook_deliveries_owner", "owner", "seq"),
    Index("ix_webhook_deliveries_ended_at", "ended_at"),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("owner", String, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False),
    Column("previous", LargeBinary),
    Column("previous_until", BigInteger),
)
