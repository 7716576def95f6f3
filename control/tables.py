"""Every table of the control plane, as one readable map. Money is in `ledger/tables`; both live in one database.

Every table of accounts carries `account_id`. JSON is stored as TEXT exactly as it was written. Times are UTC. States
and their moves are in the rooms that own them; here they are words.
"""

from datetime import datetime

import sqlalchemy as sa

from kit.db import UtcTime

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(40), primary_key=True)


def _account() -> sa.Column[str]:
    return sa.Column("account_id", sa.String(40), nullable=False)


def _ref(name: str, target: str, *, required: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.String(40), sa.ForeignKey(target), nullable=not required)


def _word(name: str, default: str | None = None, *, length: int = 200) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default=default)


def _text(name: str, *, length: int = 200) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=True)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _time(name: str, *, required: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UtcTime(), nullable=not required)


# identity -------------------------------------------------------------------------------------------------------------

accounts = sa.Table(
    "accounts",
    metadata,
    _id(),
    _word("name"),
    _word("plan", "pro"),
    sa.Column("slots", sa.Integer, server_default="20"),  # of its plan, as are the next two; NULL is no limit
    sa.Column("storage_bytes", sa.BigInteger),
    sa.Column("timeout_s", sa.Integer),  # the longest that a flow may ask for
    _word("time_zone", "UTC", length=64),  # IANA; where its days begin
    sa.Column("retention", sa.Text),  # what an admin set instead of the settings', as JSON
    _time("created_at", required=True),
)

storage_use = sa.Table(  # what an account's content takes, by class; a chore counts
    "storage_use",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),  # logs | payloads | results | bodies | open
    _count("bytes"),
    _time("counted_at", required=True),
    _time("through"),  # what ended until then has lost its content of this class
)

users = sa.Table(
    "users",
    metadata,
    _id(),
    _account(),
    _word("email"),
    _word("name"),
    _word("role", "viewer"),
    _text("password_hash"),
    _time("created_at", required=True),
    sa.UniqueConstraint("account_id", "email"),
)

tokens = sa.Table(  # opaque ones: sign-in links, browser cookies, API tokens, enrolled agents; only hashes are kept
    "tokens",
    metadata,
    _id(),
    _account(),
    _word("kind"),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    _ref("user_id", "users.id", required=False),
    _text("session_id"),
    _word("name"),
    _time("created_at", required=True),
    _time("expires_at"),
    _time("used_at"),
    _time("revoked_at"),
)

signing_keys = sa.Table(  # the public halves; every role reads them, one file of role mcp holds the private half
    "signing_keys",
    metadata,
    sa.Column("kid", sa.String(40), primary_key=True),
    _account(),
    sa.Column("public_pem", sa.Text, nullable=False),
    _time("created_at", required=True),
)

repeats = sa.Table(  # requests that were made with an Idempotency-Key, kept for a day
    "repeats",
    metadata,
    _account(),
    sa.Column("key", sa.String(64), primary_key=True),  # of the asker, the address and the key, hashed
    sa.Column("body", sa.String(64), nullable=False),  # of what was sent, hashed
    sa.Column("answer", sa.Text),  # NULL while it is made, and where it holds what is shown once
    _time("at", required=True),
    sa.Index("ix_repeats_at", "at"),
)

sessions = sa.Table(  # runtime sessions: what tokens, tool calls, approvals and ledger entries hang on
    "sessions",
    metadata,
    _id(),
    _account(),
    _word("kind", "execution"),  # execution | enrolled
    _text("execution_id"),
    _word("principal"),
    sa.Column("charter", sa.Text, nullable=False),
    _text("bootstrap_hash", length=64),
    _time("bootstrap_used_at"),
    _text("bootstrap_key", length=64),  # of whoever used it, hashed
    _time("created_at", required=True),
    _time("opened_at"),  # an enrolled agent's at its first use
    _time("alive_until", required=True),
    _time("revoked_at"),
    _time("tools_listed_at"),
    _time("model_called_at"),
    sa.Index("ix_sessions_execution", "execution_id"),
    sa.Index("ix_sessions_bootstrap", "bootstrap_hash", unique=True),
    sa.Index("ix_sessions_alive", "account_id", "alive_until"),
)

# flows ----------------------------------------------------------------------------------------------------------------

flows = sa.Table(
    "flows",
    metadata,
    _id(),
    _account(),
    _word("name"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("hook_secret", sa.Text, nullable=False),  # sealed
    sa.Column("hook_before", sa.Text),  # the one before it, good until then
    _time("hook_before_until"),
    _time("served_at"),  # when one of its executions was claimed last: whose turn it is
    _time("created_at", required=True),
    sa.UniqueConstraint("account_id", "name"),
)

senders = sa.Table(  # the secrets of senders with schemes of their own, one for the account
    "senders",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),  # github | gitlab
    sa.Column("secret", sa.Text, nullable=False),  # sealed
    sa.Column("before", sa.Text),  # the one before it, good until then
    _time("before_until"),
    _time("created_at", required=True),
)

schedules = sa.Table(  # when the schedule triggers of each flow's newest version fire next
    "schedules",
    metadata,
    sa.Column("flow_id", sa.String(40), sa.ForeignKey("flows.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),  # of the trigger in its file
    _account(),
    _word("cron"),
    _word("zone", length=64),
    _time("next_at"),
    _time("last_at"),
    sa.Index("ix_schedules_next", "next_at"),
)

flow_versions = sa.Table(
    "flow_versions",
    metadata,
    sa.Column("flow_id", sa.String(40), sa.ForeignKey("flows.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    _account(),
    sa.Column("body", sa.Text, nullable=False),  # the flow as canonical JSON
    _time("created_at", required=True),
)

# executions -----------------------------------------------------------------------------------------------------------

executions = sa.Table(
    "executions",
    metadata,
    _id(),
    _account(),
    _ref("flow_id", "flows.id"),
    _word("flow_name"),
    sa.Column("flow_version", sa.Integer, nullable=False),
    _word("state", "PENDING", length=20),
    _count("open_approvals"),
    _text("stop_intent", length=40),  # the cause somebody wants it to end with
    _text("cause", length=40),
    sa.Column("message", sa.Text),
    sa.Column("hint", sa.Text),
    _word("trigger_type"),
    sa.Column("trigger_event", sa.Text, nullable=False),
    _text("source_url", length=2000),
    _text("reruns"),  # the execution this one repeats
    _text("resends"),  # the one that the same delivery made before, which was final by then
    _text("retry_of"),  # the one that failed and made this one by its flow's rule
    _text("retried_by"),  # the one that it made in turn
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # 0 first, then retries
    _text("budget_of"),  # the first of its retries, whose budget it spends
    _time("not_before"),  # a retry waits so long
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("unresolved", sa.Text, nullable=False, server_default="[]"),
    sa.Column("concurrency", sa.Integer, nullable=False, server_default="1"),  # of its flow, at that version
    sa.Column("timeout_s", sa.Integer, nullable=False, server_default="1800"),  # active time
    sa.Column("wall_s", sa.Integer, nullable=False, server_default="86400"),  # from the claim, waits included
    _text("session_id"),
    _text("engine", length=200),
    _text("job", length=120),
    _text("image", length=200),
    _time("unmetered_at"),  # its agent was given a provider's key then: its model calls go past the gateway
    _count("epoch"),
    _text("lease_owner", length=120),
    _time("lease_until"),
    sa.Column("exit_code", sa.Integer),
    _count("waited_ms"),
    _time("waiting_since"),
    _time("created_at", required=True),
    _time("claimed_at"),
    _time("agent_started_at"),
    _time("agent_ended_at"),
    _time("stopping_at"),
    _time("ended_at"),
    _time("cleaned_at"),
    _count("log_bytes"),  # these three as they went into storage_use, which they leave as they came
    _count("payload_bytes"),
    _count("result_bytes"),
    _time("counted_at"),
    _time("log_cut_at"),  # from then on lines are not kept: the account's storage is full, or the flow's log
    _time("logs_moved_at"),  # its lines went to the object store, see log_chunks
    _time("logs_deleted_at"),  # retention took them; the row, its events and its costs stay
    _time("payload_deleted_at"),
    _time("results_deleted_at"),
    sa.Column("keeps", sa.Text),  # its flow's own retention, {"logs": 7}: days by class
    _time("due_at"),  # when that takes something next
    sa.Index("ix_executions_due", "due_at", sqlite_where=sa.text("due_at IS NOT NULL"),
             postgresql_where=sa.text("due_at IS NOT NULL")),
    sa.Index("ix_executions_running", "account_id", "flow_id", "lease_until",
             sqlite_where=sa.text("state = 'RUNNING'"), postgresql_where=sa.text("state = 'RUNNING'")),
    sa.Index("ix_executions_uncleaned", "ended_at", sqlite_where=sa.text("cleaned_at IS NULL AND job IS NOT NULL"),
             postgresql_where=sa.text("cleaned_at IS NULL AND job IS NOT NULL")),
    sa.Index("ix_executions_uncounted", "ended_at",
             sqlite_where=sa.text("counted_at IS NULL AND ended_at IS NOT NULL"),
             postgresql_where=sa.text("counted_at IS NULL AND ended_at IS NOT NULL")),
    sa.Index("ix_executions_large_logs", "ended_at",
             sqlite_where=sa.text("log_bytes >= 1048576 AND logs_moved_at IS NULL AND logs_deleted_at IS NULL"),
             postgresql_where=sa.text("log_bytes >= 1048576 AND logs_moved_at IS NULL AND logs_deleted_at IS NULL")),
    sa.Index("ix_executions_flow", "flow_id", "created_at", "state"),  # all that a success rate reads
    sa.Index("ix_executions_queue", "account_id", "flow_id", "created_at", "id",
             sqlite_where=sa.text("state = 'PENDING'"), postgresql_where=sa.text("state = 'PENDING'")),
    sa.Index("ix_executions_unwanted", "created_at",
             sqlite_where=sa.text("state = 'PENDING' AND stop_intent IS NOT NULL"),
             postgresql_where=sa.text("state = 'PENDING' AND stop_intent IS NOT NULL")),
    sa.Index("ix_executions_unmetered", "account_id", "unmetered_at",
             sqlite_where=sa.text("unmetered_at IS NOT NULL"), postgresql_where=sa.text("unmetered_at IS NOT NULL")),
    sa.Index("ix_executions_ended", "ended_at"),  # not by account: SQLite would take it for any question of one
    # what the list filters by, in its order; of those that are not over there are few
    sa.Index("ix_executions_over", "state", "account_id", "id", sqlite_where=sa.text("ended_at IS NOT NULL"),
             postgresql_where=sa.text("ended_at IS NOT NULL")),
    sa.Index("ix_executions_ended_as", "state", "account_id", "ended_at", "id",
             sqlite_where=sa.text("cause IS NOT NULL"), postgresql_where=sa.text("cause IS NOT NULL")),
    sa.Index("ix_executions_of_flow", "flow_name", "account_id", "id"),
    sa.Index("ix_executions_trigger", "trigger_type", "account_id", "id"),
)  # fmt: skip

runners = sa.Table(  # the workers that claim, while they live; `problem` is why one has no engine
    "runners",
    metadata,
    sa.Column("id", sa.String(120), primary_key=True),  # what its leases name as their owner
    _account(),
    _word("engine"),
    sa.Column("parallel", sa.Integer, nullable=False, server_default="0"),
    sa.Column("problem", sa.Text),
    _time("seen_at", required=True),
)

deliveries = sa.Table(  # a sender's delivery id, while the execution it made is not final and a little longer
    "deliveries",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("flow_id", sa.String(40), primary_key=True),
    sa.Column("delivery_id", sa.String(200), primary_key=True),
    _word("execution_id"),
    _time("created_at", required=True),
)

log_chunks = sa.Table(  # lines are a JSON list of [time, stream, level, text]; the cursor is the engine's, after them
    "log_chunks",
    metadata,
    sa.Column("execution_id", sa.String(40), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True),
    _account(),
    _count("count"),
    sa.Column("lines", sa.Text, nullable=False),
    _text("cursor"),
    _time("at", required=True),
    sa.Column("moved_bytes", sa.BigInteger),  # so much of them is a blob of its own, and `lines` is []
)

artifacts = sa.Table(  # files that an agent left, and what it changed; their bytes are blobs
    "artifacts",
    metadata,
    sa.Column("execution_id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),  # its path in the work folder
    _account(),
    _count("size"),
    sa.Column("sha256", sa.String(64), nullable=False),
    _time("at", required=True),
)

tool_calls = sa.Table(
    "tool_calls",
    metadata,
    _id(),
    _account(),
    _ref("session_id", "sessions.id"),
    _text("execution_id"),
    _word("server"),
    _word("tool"),
    _word("name"),  # as the agent sees it
    sa.Column("args", sa.Text, nullable=False),  # canonical JSON, without the justification
    sa.Column("digest", sa.String(64), nullable=False),
    _text("definition_digest", length=64),
    sa.Column("justification", sa.Text),
    sa.Column("rule", sa.Text),  # why it was allowed, gated or denied
    sa.Column("context", sa.Text),  # what the rules saw, for a replay
    _word("status", length=20),
    sa.Column("approved_args", sa.Text),  # what an approver changed them to; then these go upstream
    _text("grant_id"),  # the standing yes that let it pass
    sa.Column("result", sa.Text),
    sa.Column("is_error", sa.Boolean),
    sa.Column("error", sa.Text),
    sa.Column("late", sa.Boolean, nullable=False, server_default=sa.false()),  # it came after the run's end
    _time("asked_at", required=True),
    _time("sent_at"),
    _time("send_until"),  # the upstream's answer is due; later it is unknown what happened
    _time("settled_at"),
    _time("delivered_at"),
    _time("attended_at"),  # when somebody listened for its answer last, to half a minute
    _count("waited_ms"),
    sa.Column("receipt_seq", sa.BigInteger),  # the event that tells how it ended
    _time("deleted_at"),  # retention took arguments and result; digest, names and receipt stay
    sa.Index("ix_tool_calls_session", "session_id", "digest"),
    sa.Index("ix_tool_calls_execution", "execution_id", "asked_at"),
    sa.Index("ix_tool_calls_enrolled", "execution_id", "settled_at",
             sqlite_where=sa.text("execution_id IS NULL AND deleted_at IS NULL"),
             postgresql_where=sa.text("execution_id IS NULL AND deleted_at IS NULL")),
)  # fmt: skip

# approvals ------------------------------------------------------------------------------------------------------------

approvals = sa.Table(
    "approvals",
    metadata,
    _id(),
    _account(),
    _ref("session_id", "sessions.id"),
    _text("execution_id"),
    _ref("call_id", "tool_calls.id"),
    _word("approver_group"),
    sa.Column("quorum", sa.Integer, nullable=False, server_default="1"),
    sa.Column("rule", sa.Text, nullable=False),
    _word("status", "pending", length=20),
    _time("asked_at", required=True),
    _time("expires_at", required=True),
    _time("decided_at"),
    _text("decided_by"),
    sa.Column("reason", sa.Text),
    _text("requester"),  # the person behind the run, who can't be the only vote under four eyes
    sa.Column("four_eyes", sa.Boolean, nullable=False, server_default=sa.false()),
    _word("confirm", "press", length=20),  # press | typed
    sa.Column("sign_in", sa.Boolean, nullable=False, server_default=sa.false()),  # then a link can look, not decide
    sa.Column("summary", sa.Text),  # the flow's sentence for the request, a template over its arguments
    _text("escalate_to"),  # the group that is asked too when three quarters of the time are over
    sa.Column("also", sa.Text),  # further gates that fired for the call, a JSON list: all must be passed
    _time("reminded_at"),
    _time("escalated_at"),
    sa.Column("escalated_early", sa.Text),  # a JSON list: only these groups' gates went on so far; none is every gate
    _time("links_revoked_at"),  # from then on no notice of it carries a link
    sa.Index("ix_approvals_pending", "expires_at", sqlite_where=sa.text("status = 'pending'"),
             postgresql_where=sa.text("status = 'pending'")),
    sa.Index("ix_approvals_session", "session_id"),
    sa.Index("ix_approvals_call", "call_id"),
    sa.Index("ix_approvals_execution", "execution_id"),
)  # fmt: skip

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("approval_id", sa.String(40), sa.ForeignKey("approvals.id"), primary_key=True),
    sa.Column("approver", sa.String(200), primary_key=True),
    _account(),
    _word("verdict", length=20),
    sa.Column("reason", sa.Text),
    _text("by", length=200),  # link or signed-in user, and the address it came from
    _time("at", required=True),
)

grants = sa.Table(  # a standing yes: these calls of this session need nobody until it is used up, over or revoked
    "grants",
    metadata,
    _id(),
    _account(),
    _ref("session_id", "sessions.id"),
    _ref("approval_id", "approvals.id", required=False),
    _word("server"),
    _word("tool"),
    sa.Column("condition", sa.Text),  # CEL over the call; none is every call of the tool
    _text("digest", length=64),  # only these arguments
    sa.Column("uses_left", sa.Integer),  # none is no limit
    _word("created_by"),
    _time("created_at", required=True),
    _time("expires_at", required=True),
    _time("revoked_at"),
    sa.Index("ix_grants_session", "session_id", "server", "tool"),
)

links = sa.Table(  # one per approver, approval and delivery attempt; only its hash is kept
    "links",
    metadata,
    _id(),
    _account(),
    _ref("approval_id", "approvals.id"),
    _word("approver"),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    _time("created_at", required=True),
    _time("expires_at", required=True),
    _time("revoked_at"),
)

# tools ----------------------------------------------------------------------------------------------------------------

definitions = sa.Table(  # what an upstream said a tool is, raw; one accepted digest per tool is served
    "definitions",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("server", sa.String(200), primary_key=True),
    sa.Column("tool", sa.String(200), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("raw", sa.Text, nullable=False),
    _word("status", "seen", length=20),  # seen | accepted | quarantined | replaced
    sa.Column("reason", sa.Text),
    _time("seen_at", required=True),
    _time("decided_at"),
    _text("decided_by"),
)

# record and delivery --------------------------------------------------------------------------------------------------

streams = sa.Table(
    "streams",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("id", sa.String(40), primary_key=True),
    _count("last_seq"),
    sa.Column("head", sa.String(64), nullable=False, server_default=""),
    _count("bytes"),  # of a log
)

events = sa.Table(  # hash = sha256(previous hex + newline + body); body is canonical JSON, kept as the exact text
    "events",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("stream", sa.String(40), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _word("type", length=60),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    _time("at", required=True),
    sa.Index("ix_events_at", "account_id", "at"),
)

checkpoints = sa.Table(  # the heads of all streams as they were at one moment; each seals what stands before it
    "checkpoints",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("stream", sa.String(40), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False),
    _time("at", required=True),
)

outbox = sa.Table(  # what must leave the house; no row holds a clear link
    "outbox",
    metadata,
    _id(),
    _account(),
    _word("channel", length=40),
    _word("topic", length=60),
    _word("target", length=2000),
    sa.Column("payload", sa.Text, nullable=False),
    _word("status", "waiting", length=20),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", sa.Text),
    _time("created_at", required=True),
    _time("next_at", required=True),
    _time("sent_at"),
    sa.Index("ix_outbox_waiting", "next_at", sqlite_where=sa.text("status = 'waiting'"),
             postgresql_where=sa.text("status = 'waiting'")),
)  # fmt: skip

# several processes ----------------------------------------------------------------------------------------------------

paces = sa.Table(  # what of a minute's allowance processes have taken, by what is paced and the minute's number
    "paces",
    metadata,
    sa.Column("account_id", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(600), primary_key=True),
    sa.Column("minute", sa.BigInteger, primary_key=True),
    _count("taken"),
    sa.Index("ix_paces_minute", "minute"),
)

planes = sa.Table(  # processes that serve, and the newest migration each knows
    "planes",
    metadata,
    _id(),
    _word("knows", length=4),
    _word("roles"),
    _time("seen_at", required=True),
)

schema_steps = sa.Table(  # migrations this database had since it writes them down; phase: pre | post
    "schema_steps",
    metadata,
    sa.Column("number", sa.String(4), primary_key=True),
    _word("phase", length=4),
    _time("at", required=True),
)
