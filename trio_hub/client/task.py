"""
A task of an agent: a piece of work whose life is an ``async with`` block.

The hub is told of each step before the block goes on, so what it shows is never ahead of the
work, and what a task has returned from is durable.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .._logging import get_logger
from ..errors import NetworkError
from ..ids import iso_from_seconds
from ..records import Duration, TaskMetadata, TaskSpec, TaskState, duration_seconds
from .checkpoints import CheckpointStore
from .running_turns import task_in_turn

if TYPE_CHECKING:
    from .agent_client import AgentClient

__all__ = ["Task", "begun_now", "seconds_of"]

_log = get_logger("trio_hub.client")

# How long a block that is given up still tries to tell the hub of its end.
_LAST_WORDS_SECONDS = 5.0


class Task:
    """
    A task that runs; `AgentClient.task` makes them.

    Attributes:
        resumed_state: What the task named by `resume_from` kept last; None where it kept nothing.
    """

    def __init__(
        self, owner: AgentClient, metadata: TaskMetadata, store: CheckpointStore | None
    ) -> None:
        self._owner = owner
        self._metadata = metadata
        self._store = store
        self._began = trio.current_time()
        self._is_ending = False
        self.resumed_state: dict[str, Any] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        owner: AgentClient,
        spec: TaskSpec,
        *,
        ttl: Duration | None,
        channel_id: str | None,
        checkpoint_store: CheckpointStore | None,
        resume_from: str | None,
    ) -> AsyncIterator[Task]:
        """See `AgentClient.task`."""
        if resume_from is not None and checkpoint_store is None:
            raise ValueError(
                "`resume_from` needs the `checkpoint_store` that the state was kept in"
            )
        seconds = seconds_of(ttl)
        resumed = None
        if resume_from is not None and checkpoint_store is not None:
            resumed = await checkpoint_store.read(resume_from)
        metadata = begun_now(
            owner,
            spec,
            task_id=owner.hub_client.new_key(),
            seconds=seconds,
            channel_id=channel_id,
        )
        task = cls(owner, metadata, checkpoint_store)
        task.resumed_state = resumed
        await owner.hub_client.observe_task(metadata)
        async with task.running(seconds):
            yield task

    @asynccontextmanager
    async def running(
        self, seconds: float | None, *, goes_on_elsewhere: bool = False
    ) -> AsyncIterator[None]:
        """
        Be the block of this task: however it ends, the task ends accordingly.

        Args:
            seconds: How long it may take; None is any time.
            goes_on_elsewhere: Where the block is cancelled, the task goes on with another worker.
        """
        deadline = float("inf") if seconds is None else trio.current_time() + seconds
        try:
            with task_in_turn(self.task_id), trio.CancelScope(deadline=deadline) as scope:
                yield
                if not self.state.is_terminal:
                    await self.complete()
        except BaseException as error:
            if not _is_cancellation(error):
                await self._end_at_last(TaskState.FAILED, _words(error))
            elif not goes_on_elsewhere:
                await self._end_at_last(TaskState.CANCELLED, "the block was cancelled")
            raise
        if scope.cancelled_caught and not self.state.is_terminal:
            await self._end_at_last(TaskState.EXPIRED)
            raise trio.TooSlowError(
                f"task {self.task_id} did not end within its TTL: {seconds:g} s were left"
            )

    def __repr__(self) -> str:
        return f"<Task {self.task_id} {self.state}: {self._metadata.spec.title!r}>"

    @property
    def task_id(self) -> str:
        """Its id."""
        return self._metadata.task_id

    @property
    def state(self) -> TaskState:
        """Where it stands, as far as its owner knows."""
        return self._metadata.state

    @property
    def metadata(self) -> TaskMetadata:
        """What was told of it."""
        return self._metadata

    @property
    def is_ending(self) -> bool:
        """Whether its owner has told the hub of an end, answered or not."""
        return self._is_ending

    async def progress(self, payload: Mapping[str, Any]) -> None:
        """
        Tell how far it is. What is given is added to what was told before. Durable on return.

        Raises:
            ProtocolError: It has ended, at the hub perhaps: expired.
        """
        await self._owner.hub_client.update_task(self.task_id, progress=payload)
        merged = {**self._metadata.progress, **payload}
        self._metadata = attrs.evolve(self._metadata, progress=merged)

    async def checkpoint(self, state: Mapping[str, Any]) -> None:
        """
        Keep what is needed to go on from here, in place of what was kept before.

        Raises:
            RuntimeError: The task was opened without a `checkpoint_store`.

        Durability: as the store says. Cancellation: it may or may not be kept.
        """
        if self._store is None:
            raise RuntimeError(
                f"task {self.task_id} has nowhere to keep a checkpoint: give "
                "`checkpoint_store=` when you open it"
            )
        await self._store.write(self.task_id, dict(state))

    async def complete(self, result: Any = None) -> None:
        """
        End it, with a result (JSON). Leaving the block without this completes it with None.

        Raises:
            ProtocolError: It has ended otherwise.

        Cancellation: it may or may not have ended so; leaving the block finds out.
        """
        await self._end(TaskState.COMPLETED, result=result)

    async def fail(self, error: str | BaseException) -> None:
        """End it, as failed. Raises and Cancellation: as `complete`."""
        await self._end(TaskState.FAILED, error=_words(error))

    async def cancel(self, reason: str = "") -> None:
        """End it, as given up by its owner. Raises and Cancellation: as `complete`."""
        await self._end(TaskState.CANCELLED, error=reason or None)

    async def _end(self, state: TaskState, *, result: Any = None, error: str | None = None) -> None:
        self._is_ending = True
        await self._owner.hub_client.update_task(
            self.task_id, state=state, result=result, error=error
        )
        self._metadata = attrs.evolve(self._metadata, state=state, result=result, error=error or "")
        await self._count(state)

    async def _end_at_last(self, state: TaskState, error: str | None = None) -> None:
        """Tell of an end from a block that is given up; what the block raised matters more."""
        if self.state.is_terminal:
            return
        with trio.CancelScope(
            shield=True, deadline=trio.current_time() + _LAST_WORDS_SECONDS
        ) as scope:
            try:
                await self._end(state, error=error)
            except (NetworkError, trio.TooSlowError) as problem:
                _log.warning("end of task not told", task_id=self.task_id, error=str(problem))
        if scope.cancelled_caught:
            _log.warning("end of task not told", task_id=self.task_id, error="no answer in time")

    async def _count(self, outcome: TaskState) -> None:
        """Have it counted in the track record of its capability: worth a try, and not more."""
        capability = self._metadata.spec.capability
        if capability is None:
            return
        try:
            await self._owner.hub_client.record_observation(
                owner_id=self._owner.agent_id,
                capability=capability,
                outcome=outcome,
                latency_ms=round(1000 * (trio.current_time() - self._began)),
                task_id=self.task_id,
            )
        except (NetworkError, trio.TooSlowError) as problem:
            _log.warning("task not counted", task_id=self.task_id, error=str(problem))


def _words(error: str | BaseException) -> str:
    return error if isinstance(error, str) else f"{type(error).__name__}: {error}"


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def seconds_of(ttl: Duration | None) -> float | None:
    """Return how long a task may take; None, and a TTL of nothing, are any time."""
    return None if ttl is None else duration_seconds(ttl) or None


def begun_now(
    owner: AgentClient,
    spec: TaskSpec,
    *,
    task_id: str,
    seconds: float | None,
    channel_id: str | None,
) -> TaskMetadata:
    """Draw up a task of `owner` that begins now, and may take `seconds`."""
    now = time.time()
    return TaskMetadata(
        task_id=task_id,
        owner_id=owner.agent_id,
        spec=spec,
        state=TaskState.RUNNING,
        created_at=iso_from_seconds(now),
        started_at=iso_from_seconds(now),
        expires_at=None if seconds is None else iso_from_seconds(now + seconds),
        channel_id=channel_id,
    )
