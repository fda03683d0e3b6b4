"""Records: the values that the network is made of. Frozen attrs classes, no behaviour to speak of."""

from .audit import AuditPage as AuditPage, AuditRecord as AuditRecord
from .channel import (
    ChannelManifest as ChannelManifest,
    ChannelMetadata as ChannelMetadata,
    ChannelState as ChannelState,
    Expectation as Expectation,
    Participant as Participant,
    ParticipantRole as ParticipantRole,
    ParticipantSchema as ParticipantSchema,
    PendingTurn as PendingTurn,
)
from .connection_facts import (
    ClientCertificate as ClientCertificate,
    ConnectionFacts as ConnectionFacts,
)
from .dead_letter import DeadLetterPage as DeadLetterPage, KeptLetter as KeptLetter
from .delivery_rule import DeliveryRule as DeliveryRule
from .duration import Duration as Duration, duration_seconds as duration_seconds
from .envelope import (
    EV_CHANNEL_CLOSED as EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED as EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE as EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK as EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT as EV_CHANNEL_INVITE_REJECT,
    EV_CHANNEL_OPENED as EV_CHANNEL_OPENED,
    EV_CHANNEL_PARTICIPANT_HIDDEN as EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED as EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_CONTEXT_SET as EV_CONTEXT_SET,
    EV_EXPECTATION_VIOLATED as EV_EXPECTATION_VIOLATED,
    EV_PACKET as EV_PACKET,
    EV_TASK_CANCEL_REQUEST as EV_TASK_CANCEL_REQUEST,
    EV_TEXT as EV_TEXT,
    Envelope as Envelope,
    Priority as Priority,
    is_addressed_to as is_addressed_to,
    is_bookkeeping as is_bookkeeping,
    is_visible_to as is_visible_to,
)
from .identity import (
    AuthBlock as AuthBlock,
    CostProfile as CostProfile,
    ObservedStat as ObservedStat,
    Passport as Passport,
    PassportKind as PassportKind,
    Resume as Resume,
    ResumeExample as ResumeExample,
    TrackRecord as TrackRecord,
    without_claim as without_claim,
)
from .operator_rule import (
    AccessCeiling as AccessCeiling,
    ChannelTypeCeiling as ChannelTypeCeiling,
    EffectiveAccess as EffectiveAccess,
    EffectiveRule as EffectiveRule,
    InboxCeiling as InboxCeiling,
    LimitsCeiling as LimitsCeiling,
    OperatorRule as OperatorRule,
    OperatorRulePage as OperatorRulePage,
)
from .peer import PeerOrder as PeerOrder, PeerPage as PeerPage, PeerSummary as PeerSummary
from .revocation import Revocation as Revocation, RevocationPage as RevocationPage
from .rule import (
    AccessBlock as AccessBlock,
    ChannelTypeAccess as ChannelTypeAccess,
    InboxBlock as InboxBlock,
    LimitsBlock as LimitsBlock,
    Overflow as Overflow,
    RateBlock as RateBlock,
    Rule as Rule,
)
from .standing import DeliveryStanding as DeliveryStanding
from .task import (
    Checkpoint as Checkpoint,
    TaskMetadata as TaskMetadata,
    TaskSpec as TaskSpec,
    TaskState as TaskState,
)
