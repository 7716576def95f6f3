"""Structured logs on stderr: readable in a terminal, JSON lines otherwise. Context variables ride on every line."""

import logging
import sys

import structlog

log = structlog.stdlib.get_logger("preloop")


def configure(level: str = "info") -> None:
    """Set up once, at the start of a process."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in (
        "uvicorn.error",
        "httpx",
        "httpx2",
        "mcp",
        "uvicorn.access",
        "alembic",
        "asyncio",
        "LiteLLM",
        "boto3",
        "botocore",
        "s3transfer",
        "urllib3",
    ):
        logging.getLogger(chatty).setLevel(logging.WARNING)
