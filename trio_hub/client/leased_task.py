"""
A task that any worker of its owner can go on with, one at a time.

Who works on it has its lease, and renews it. The hub gives it to the next one only when it has
run out or was given back; the one before counts from when it asked, which is earlier, so it has
stopped by then, whether it hears from the hub or not.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from .._logging import get_logger
from .._nursery import open_plain_nursery
from ..errors import AccessDeniedError, Conflict, NetworkError, NotFoundError, ProtocolError
from ..ids import seconds_from_iso
from ..records import Duration, TaskMetadata, TaskSpec, duration_seconds
from ..wire.params import TASK_WAIT_SECONDS_MAX
from .task import Task, begun_now, seconds_of

if TYPE_CHECKING:
    from .agent_client import AgentClient
    from .hub_client import HubClient

__all__ = ["open_leased"]

_log = get_logger("trio_hub.client")

# How often a lease is renewed while it lasts: two attempts may fail.
_RENEWALS = 3
_GIVE_BACK_SECONDS = 5.0


@asynccontextmanager
async def open_leased(
    owner: AgentClient,
    spec: TaskSpec,
    *,
    task_id: str | None,
    lease: Duration,
    ttl: Duration | None,
    channel_id: str | None,
) -> AsyncIterator[Task]:
    """See `AgentClient.task`."""
    hub = owner.hub_client
    seconds = duration_seconds(lease)
    if not seconds:
        raise ValueError("a lease of no time at all is none: say how long, such as '30s'")
    metadata = await _find_or_begin(owner, spec, task_id or hub.new_key(), ttl, channel_id)
    held = _Lease(hub, metadata.task_id, seconds)
    async with held:
        checkpoint = await hub.read_task_generation(metadata.task_id)
        held.generation = max(held.generation, checkpoint.generation)
        task = Task(owner, await hub.get_task(metadata.task_id), held)
        task.resumed_state = checkpoint.state
        held.task = task
        left = None
        if metadata.expires_at is not None:
            left = max(0.0, seconds_from_iso(metadata.expires_at) - time.time())
        async with task.running(left, goes_on_elsewhere=True):
            yield task


async def _find_or_begin(
    owner: AgentClient,
    spec: TaskSpec,
    task_id: str,
    ttl: Duration | None,
    channel_id: str | None,
) -> TaskMetadata:
    try:
        return await owner.hub_client.get_task(task_id)
    except NotFoundError:
        pass
    metadata = begun_now(
        owner, spec, task_id=task_id, seconds=seconds_of(ttl), channel_id=channel_id
    )
    await owner.hub_client.observe_task(metadata)
    return metadata


class _Lease:
    """
    A worker's lease on a task, for as long as the block lasts; also where its state is kept.

    Raises `Conflict` from leaving where the lease was lost and the block was cancelled for it, or
    what the hub said, where the task has ended or is not ours any more.
    """

    def __init__(self, hub: HubClient, task_id: str, seconds: float) -> None:
        self.generation = 0
        self.task: Task | None = None
        self._hub = hub
        self._task_id = task_id
        self._seconds = seconds
        self._holder = hub.new_key()
        self._scope = trio.CancelScope()
        self._lost_because: NetworkError | None = None
        self._block: Any = None

    async def __aenter__(self) -> None:
        await self._take()
        self._block = self._kept()
        await self._block.__aenter__()

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        handled: bool | None = await self._block.__aexit__(*exc_info)
        return handled

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        try:
            async with open_plain_nursery() as nursery:
                nursery.start_soon(self._renew)
                with self._scope:
                    yield
                nursery.cancel_scope.cancel()
        finally:
            await self._give_back()
        if self._scope.cancelled_caught:
            raise self._lost_because or Conflict(
                f"the lease on task {self._task_id} could not be renewed within "
                f"{self._seconds:g} s: another worker may have gone on with it"
            )

    async def _take(self) -> None:
        """Wait until it is ours."""
        while True:
            asked_at = trio.current_time()
            try:
                self.generation = await self._ask(wait_seconds=TASK_WAIT_SECONDS_MAX)
            except Conflict:
                continue
            self._scope.deadline = asked_at + self._seconds
            if trio.current_time() < self._scope.deadline:
                return
            # Given long ago, perhaps while it was waited for: ask when it begins to count.

    async def _renew(self) -> None:
        while True:
            await trio.sleep(self._seconds / _RENEWALS)
            asked_at = trio.current_time()
            try:
                await self._ask()
            except (Conflict, ProtocolError, AccessDeniedError) as error:
                if self.task is not None and self.task.is_ending:
                    # By this very block, which needs no lease for the rest of it.
                    self._scope.deadline = math.inf
                    return
                self._lost_because = error
                self._scope.cancel()
                return
            except (NetworkError, trio.TooSlowError) as error:
                _log.warning("lease not renewed", task_id=self._task_id, error=str(error))
            else:
                self._scope.deadline = asked_at + self._seconds

    async def _ask(self, *, wait_seconds: float = 0.0) -> int:
        return await self._hub.lease_task(
            self._task_id,
            self._holder,
            self._seconds,
            wait_seconds=wait_seconds,
            timeout=math.inf if wait_seconds else None,
        )

    async def _give_back(self) -> None:
        """Let the next one have it; without this it waits until the lease has run out."""
        if self._scope.cancelled_caught:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _GIVE_BACK_SECONDS):
            try:
                await self._hub.release_task(self._task_id, self._holder)
            except (NetworkError, trio.TooSlowError) as error:
                _log.warning("lease not given back", task_id=self._task_id, error=str(error))

    # As the `CheckpointStore` of the task

    async def write(self, task_id: str, state: dict[str, Any]) -> None:
        self.generation = await self._hub.swap_task_checkpoint(
            task_id, state, generation=self.generation, holder=self._holder
        )

    async def read(self, task_id: str) -> dict[str, Any] | None:
        return await self._hub.read_task_checkpoint(task_id)
