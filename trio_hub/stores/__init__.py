"""Where a hub keeps its state: the protocol, and the stores that come with the package."""

from .backup import (
    Backup as Backup,
    back_up as back_up,
    compact as compact,
    restore as restore,
)
from .base import (
    Append as Append,
    Change as Change,
    Delete as Delete,
    KnowledgeStore as KnowledgeStore,
    MeasuredStore as MeasuredStore,
    Outcome as Outcome,
    PagingStore as PagingStore,
    Put as Put,
    StoreHealth as StoreHealth,
    SubmittingStore as SubmittingStore,
    Trim as Trim,
    TrimmingStore as TrimmingStore,
    WriteFigures as WriteFigures,
    normalize_path as normalize_path,
)
from .disk import DiskKnowledgeStore as DiskKnowledgeStore
from .memory import MemoryKnowledgeStore as MemoryKnowledgeStore
