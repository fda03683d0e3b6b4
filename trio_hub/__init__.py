"""
A hub for AI agents on Trio: durable channels, delivered at least once, done once.

Everything that a user may import stands here. Modules below are documented where they are, but
only these names are promised.
"""

from ._version import __version__ as __version__
from .auth import (
    ApiKeyAuth as ApiKeyAuth,
    AuthAdapter as AuthAdapter,
    AuthRegistry as AuthRegistry,
    JwtAuth as JwtAuth,
    NoAuth as NoAuth,
)
from .client import (
    Agent as Agent,
    AgentClient as AgentClient,
    Channel as Channel,
    CheckpointStore as CheckpointStore,
    ClientState as ClientState,
    FunctionAgent as FunctionAgent,
    HubBackedCheckpointStore as HubBackedCheckpointStore,
    HubClient as HubClient,
    HumanClient as HumanClient,
    Reconnect as Reconnect,
    ScriptedAgent as ScriptedAgent,
    StateChange as StateChange,
    Task as Task,
    Turn as Turn,
    VersionedCheckpointStore as VersionedCheckpointStore,
    default_handler as default_handler,
    handler_with as handler_with,
)
from .errors import (
    AccessDeniedError as AccessDeniedError,
    AuthError as AuthError,
    Conflict as Conflict,
    ConnectionLost as ConnectionLost,
    DamagedRecord as DamagedRecord,
    FrameError as FrameError,
    HubClosing as HubClosing,
    InboxFull as InboxFull,
    NetworkError as NetworkError,
    NotFoundError as NotFoundError,
    PositionLost as PositionLost,
    ProtocolError as ProtocolError,
    RateLimited as RateLimited,
    StoreError as StoreError,
    TakenOver as TakenOver,
    TooLarge as TooLarge,
)
from .hub import (
    Allow as Allow,
    AuditLog as AuditLog,
    Decision as Decision,
    Deny as Deny,
    Hub as Hub,
    HubArbiter as HubArbiter,
    HubHealth as HubHealth,
    HubLimits as HubLimits,
    HubListener as HubListener,
    ListenerHealth as ListenerHealth,
    RemoteAgentProxy as RemoteAgentProxy,
    RuleArbiter as RuleArbiter,
)
from .links import (
    LinkEndpoint as LinkEndpoint,
    LinkLimits as LinkLimits,
    LocalLink as LocalLink,
    WsLink as WsLink,
    WsLinkEndpoint as WsLinkEndpoint,
    serve_ws as serve_ws,
)
from .metrics import (
    HttpLimits as HttpLimits,
    MetricsServer as MetricsServer,
    serve_metrics as serve_metrics,
)
from .protocol.adapters import (
    AdapterResult as AdapterResult,
    ChannelAdapter as ChannelAdapter,
    ConsultingAdapter as ConsultingAdapter,
    ConversationAdapter as ConversationAdapter,
    DiscussionAdapter as DiscussionAdapter,
    ExpectedTurn as ExpectedTurn,
    WorkflowAdapter as WorkflowAdapter,
)
from .protocol.delivery_policy import DeliveryPolicy as DeliveryPolicy
from .protocol.retention import Retention as Retention
from .protocol.views import (
    FullTranscript as FullTranscript,
    Line as Line,
    View as View,
    WindowedSummary as WindowedSummary,
)
from .protocol.workflow import (
    AgentTarget as AgentTarget,
    Always as Always,
    ContextEquals as ContextEquals,
    Finish as Finish,
    FromSpeaker as FromSpeaker,
    Handoff as Handoff,
    Reply as Reply,
    RevertToInitiatorTarget as RevertToInitiatorTarget,
    RoundRobinTarget as RoundRobinTarget,
    StayTarget as StayTarget,
    TerminateTarget as TerminateTarget,
    ToolCalled as ToolCalled,
    Transition as Transition,
    TransitionCondition as TransitionCondition,
    TransitionDecision as TransitionDecision,
    TransitionGraph as TransitionGraph,
    TransitionRegistry as TransitionRegistry,
    TransitionTarget as TransitionTarget,
    WorkflowState as WorkflowState,
    register_condition as register_condition,
    register_target as register_target,
)
from .records import (
    EV_CHANNEL_CLOSED as EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED as EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE as EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK as EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT as EV_CHANNEL_INVITE_REJECT,
    EV_CHANNEL_OPENED as EV_CHANNEL_OPENED,
    EV_PACKET as EV_PACKET,
    EV_TEXT as EV_TEXT,
    AccessBlock as AccessBlock,
    AuditPage as AuditPage,
    AuditRecord as AuditRecord,
    AuthBlock as AuthBlock,
    ChannelManifest as ChannelManifest,
    ChannelMetadata as ChannelMetadata,
    ChannelState as ChannelState,
    ChannelTypeAccess as ChannelTypeAccess,
    Checkpoint as Checkpoint,
    CostProfile as CostProfile,
    DeadLetterPage as DeadLetterPage,
    DeliveryRule as DeliveryRule,
    Envelope as Envelope,
    Expectation as Expectation,
    InboxBlock as InboxBlock,
    KeptLetter as KeptLetter,
    LimitsBlock as LimitsBlock,
    ObservedStat as ObservedStat,
    Participant as Participant,
    ParticipantRole as ParticipantRole,
    ParticipantSchema as ParticipantSchema,
    Passport as Passport,
    PendingTurn as PendingTurn,
    RateBlock as RateBlock,
    Resume as Resume,
    ResumeExample as ResumeExample,
    Rule as Rule,
    TaskMetadata as TaskMetadata,
    TaskSpec as TaskSpec,
    TaskState as TaskState,
)
from .stores import (
    DiskKnowledgeStore as DiskKnowledgeStore,
    KnowledgeStore as KnowledgeStore,
    MemoryKnowledgeStore as MemoryKnowledgeStore,
)
