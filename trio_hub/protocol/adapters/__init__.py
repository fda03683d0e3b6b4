"""The rules of each type of channel, one file each."""

from .base import (
    AdapterResult as AdapterResult,
    ChannelAdapter as ChannelAdapter,
    ExpectedTurn as ExpectedTurn,
    left_by as left_by,
)
from .consulting import ConsultingAdapter as ConsultingAdapter
from .conversation import ConversationAdapter as ConversationAdapter
from .discussion import DiscussionAdapter as DiscussionAdapter
from .freezing import FreezingAdapter as FreezingAdapter
from .registry import AdapterRegistry as AdapterRegistry
from .workflow import WorkflowAdapter as WorkflowAdapter
