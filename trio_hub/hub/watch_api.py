"""What a hub tells those who watch it, in the same process: health, figures, events."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import trio

from ..stores import KnowledgeStore, MeasuredStore
from .announcer import Announcer
from .audit import AuditLog
from .backlog import Backlog, BacklogSurvey
from .channels import ChannelBook
from .committer import Committer
from .dead_letters import DeadLetterBox
from .deliveries import Deliveries
from .failed_handshakes import FailedHandshakes
from .federation import FederationDoor
from .figures import HubFigures
from .gate import Gate
from .health import HubHealth
from .leased_ids import LeasedIds
from .listeners import LISTENER_EVENTS_MAX, HubListener, Listeners
from .reception import Reception
from .registry import Registry
from .retirement import Retirement
from .revocations import Revocations
from .tasks import TaskBook
from .trimming import Trimming

__all__ = ["WatchApi"]


class WatchApi:
    """The part of `Hub` for those who watch it. `Hub` fills in what it works with."""

    audit: AuditLog
    channels: ChannelBook
    tasks: TaskBook
    _store: KnowledgeStore
    _gate: Gate
    _problems: list[str]
    _committer: Committer
    _ids: LeasedIds
    _listeners: Listeners
    _announcer: Announcer
    _door: FederationDoor | None
    _registry: Registry
    _letters: DeadLetterBox
    _deliveries: Deliveries
    _failed_handshakes: FailedHandshakes
    _survey: BacklogSurvey
    _retirement: Retirement
    _trimming: Trimming
    _reception: Reception
    _revocations: Revocations

    def add_listener(
        self, listener: HubListener, *, queue_max: int = LISTENER_EVENTS_MAX
    ) -> AbstractAsyncContextManager[None]:
        """
        Have a listener told of what happens, for as long as the block lasts.

        Args:
            listener: Has a queue and a task of its own, and delays nobody.
            queue_max: How many events may wait for it; the next ones are dropped and counted,
                see `HubHealth.listeners`.

        Raises:
            TypeError: It does not inherit from `HubListener`.
        """
        return self._listeners.added(listener, queue_max=queue_max)

    def health(self) -> HubHealth:
        """Say how the hub is doing. Never blocks."""
        return HubHealth(
            closing=self._gate.closed,
            store=self._store.health(),
            problems=(
                *self._problems,
                *(f"channel {it} is damaged: {why}" for it, why in self.channels.damages.items()),
            ),
            agents=len(self._registry),
            channels=len(self.channels),
            channels_retired=self._retirement.retired,
            records_trimmed=self._trimming.trimmed,
            tasks=len(self.tasks),
            connections=len(self._reception),
            commits=self._committer.commits,
            commits_failed=self._committer.failures,
            commits_waiting=self._committer.waiting,
            dead_letters=len(self._letters),
            delivered=self._deliveries.delivered,
            redelivered=self._deliveries.redelivered,
            listeners=self._listeners.health(),
            audit_records=len(self.audit),
            audit_head=self.audit.head,
            audit_waiting=self.audit.waiting,
            peers=() if self._door is None else self._door.health(),
        )

    def figures(self) -> HubFigures:
        """Return what the hub has counted. Never blocks; costs a little for each connection."""
        store = self._store
        return HubFigures(
            health=self.health(),
            posted=dict(self._deliveries.posted),
            rejected=dict(self._announcer.rejections),
            violations=dict(self._announcer.violations),
            handshakes_failed=dict(self._failed_handshakes.counts),
            refused=dict(self._reception.refusals),
            receipts=dict(self._deliveries.receipts),
            buried=self._deliveries.buried,
            expired=self._deliveries.expired,
            connections_opened=self._reception.opened,
            names_revoked=len(self._revocations),
            outbox_bytes=sum(it.endpoint.outbox.bytes_waiting for it in self._reception),
            commit_seconds=self._committer.seconds,
            tasks_running=trio.lowlevel.current_statistics().tasks_living,
            writes=store.write_figures() if isinstance(store, MeasuredStore) else None,
        )

    async def survey_backlog(self) -> dict[str, Backlog]:
        """
        Look up what is owed and not settled, by type of channel.

        Only of channels whose logs have been read since the hub opened. It goes through all
        agents that are owed something, a few at a time, and reads a bounded number of records,
        for a second at the most.

        Cancellation: nothing has changed.
        """
        return await self._survey.run()

    async def probe(self) -> None:
        """
        Return once the store has kept all that was submitted before this call.

        Where the last commit failed, something small is written to see whether the next would.

        Raises:
            StoreError: It does not.

        Cancellation: only the waiting ends.
        """
        if self._store.health().ok:
            await self._committer.caught_up()
        else:
            await self._ids.lease().wait()
