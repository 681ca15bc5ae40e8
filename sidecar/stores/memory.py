"""The stores of one process."""

from sidecar.stores.memory_bans import MemoryBanStore
from sidecar.stores.memory_rates import MemoryRateStore
from sidecar.stores.memory_sessions import MemorySessionStore

__all__ = ["MemoryBanStore", "MemoryRateStore", "MemorySessionStore"]
