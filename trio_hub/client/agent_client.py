"""An agent's place in the network: its identity, its channels, and what reaches it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import trio

from ..records import (
    DeadLetterPage,
    Duration,
    Envelope,
    KeptLetter,
    Resume,
    Rule,
    TaskSpec,
)
from ..wire.params import LIST_LIMIT_DEFAULT
from .agents import Agent
from .checkpoints import CheckpointStore
from .consulting import Question, consult
from .handlers import was_cancelled
from .leased_task import open_leased
from .speaking_client import SpeakingClient
from .task import Task

if TYPE_CHECKING:
    from .handlers import Handler
    from .hub_client import HubClient

__all__ = ["AgentClient"]


class AgentClient(SpeakingClient):
    """
    One identity on a `HubClient`; `HubClient.register` and `HubClient.attach` make them.

    Args:
        hub_client: The connection that it is on.
        agent: Who answers.
        handler: Gets every envelope for it.

    Once the identity is somebody else's (`TakenOver`), unregistered, or its client is closed,
    everything here raises that.
    """

    def __init__(self, *, hub_client: HubClient, agent: Agent, handler: Handler) -> None:
        super().__init__(hub_client)
        self.agent = agent
        self._handler = handler

    # Speaking

    async def consult(
        self,
        target: str,
        text: str,
        *,
        timeout: float = 300.0,
        depth: int = 0,
        trace_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """
        Ask somebody one question, in a consulting channel of its own, and return the answer.

        Within a turn, `Turn.delegate` does it, counts how deep it goes, and asks once however often
        the turn is tried.

        Args:
            target: A name or an id.
            timeout: Seconds, opening the channel included.
            depth: How many delegations deep the question is.
            trace_id: The W3C traceparent that it belongs to.
            idempotency_key: Asking under the same key again is the same question: it waits for the
                answer to what was asked first, or returns it where it is there, also after this
                program was started again. AG2's hubs know no such keys, and ask again.

        Raises:
            NotFoundError: There is nobody of that name.
            AccessDeniedError: A rule forbids it; one that is too deep, by `delegation_depth`.
            ProtocolError: It was declined, or the channel was closed before there was an answer.
            trio.TooSlowError: No answer in time.

        Durability: the question and the answer are on the hub's disk when this returns.

        Cancellation: the channel is closed (the hub is given 2 s), which cancels the turn of
        whoever was asked.
        """
        return await consult(
            self,
            Question(target, text, depth=depth, trace_id=trace_id),
            timeout=timeout,
            keys=[idempotency_key],
        )

    # Listening

    async def wait_for_channel_event(
        self,
        *,
        channel_id: str,
        predicate: Callable[[Envelope], bool],
        timeout: float = 300.0,
    ) -> Envelope:
        """
        Return the next envelope for this agent in a channel that `predicate` likes.

        What came since the channel was opened is looked at first, so nothing is missed between
        sending and waiting. A wait that returned an envelope has passed over all before it;
        later waits begin behind it. Waits at the same time see everything independently.

        The handler gets the envelope as well; this only looks on.

        Args:
            timeout: Seconds.

        Raises:
            trio.TooSlowError: Nothing came that `predicate` likes.
            TakenOver, ConnectionLost: Nothing will come any more.

        Cancellation: nothing is passed over.
        """
        with trio.move_on_after(timeout) as scope:
            return await self.identity.events.wait(channel_id, predicate)
        assert scope.cancelled_caught
        raise trio.TooSlowError(
            f"nothing that was waited for came in channel {channel_id} within {timeout:g} s"
        )

    def on_envelope(self, callback: Callable[[Envelope], Awaitable[None]]) -> None:
        """
        Let `callback` have every envelope from now on, in place of the handler.

        That includes invites: a callback that wants channels opened with this agent answers
        them (`handlers.accept_invite` does).
        """

        async def handler(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
            await callback(envelope)

        self._handler = handler

    def handle_with(self, handler: Handler) -> None:
        """Like `on_envelope`, for ``await handler(envelope, client, attempt)``."""
        self._handler = handler

    async def handle(self, envelope: Envelope, attempt: int) -> None:
        """Give an envelope to the handler, as if it had just arrived."""
        # The first envelope can be here before `register` has returned.
        if not self._bound.is_set():
            await self._bound.wait()
        await self._handler(envelope, self, attempt)

    async def resume_pending_turns(self) -> int:
        """
        Take up what protocols expect of this agent now, and return how many turns that were.

        For a program that starts again and does not rely on redelivery, or whose handler has
        changed. With the default handler nothing is said twice. A turn that was cancelled is not
        taken up. What a handler raises is raised here.

        Cancellation: the turn that is under way is given up.
        """
        self.identity.check_attached()
        taken = 0
        for turn in await self.hub_client.pending_turns_for(self.agent_id):
            if turn.triggering_envelope_id is None:
                continue
            channel = await self.channel(turn.channel_id)
            envelope = await channel.find(turn.triggering_envelope_id)
            if envelope is not None and not await was_cancelled(envelope, self, channel):
                await self.handle(envelope, 1)
                taken += 1
        return taken

    # Tasks

    def task(
        self,
        title: str,
        *,
        description: str = "",
        payload: Mapping[str, Any] | None = None,
        capability: str | None = None,
        ttl: Duration | None = None,
        channel_id: str | None = None,
        checkpoint_store: CheckpointStore | None = None,
        resume_from: str | None = None,
        task_id: str | None = None,
        lease: Duration | None = None,
    ) -> AbstractAsyncContextManager[Task]:
        """
        Do a piece of work that the hub, and through it others, can follow::

            async with alice.task("summarize the reports", ttl="10m") as task:
                await task.progress({"read": 3})
                await task.complete({"pages": 12})

        Leaving the block completes it, an exception in it fails it, its cancellation cancels it.
        Where the process dies instead, it stays as it was until its TTL ends it at the hub.

        Args:
            capability: The claim of its resume that this exercises; how the task ends is counted
                in `Resume.observed`.
            ttl: After so long the block is cancelled and the task expired; None never ends it.
            channel_id: The channel that it belongs to: whoever is in it may see the task.
            checkpoint_store: Where `Task.checkpoint` keeps its state.
            resume_from: The id of an earlier task; what that kept last is `Task.resumed_state`.
            task_id: With a `lease`: the id under which any worker of this name does the task, or
                goes on with it; None makes one up.
            lease: Do it under a lease of so long, such as ``"30s"``, which is renewed while the
                block lasts. Entering waits until no other worker has one. `resumed_state` is what
                the last one kept, and `Task.checkpoint` keeps it at the hub. Where the lease cannot
                be renewed in time, the block is cancelled, and raises `Conflict`: by then another
                worker may go on. Where the block is cancelled from outside, the lease is given
                back and the task goes on with whoever has it next.

        Raises:
            Conflict: On leaving: the lease was lost.
            AccessDeniedError: On entering: the agent is not in that channel, or the earlier task
                is somebody else's.
            ProtocolError: On leaving: the task has ended otherwise meanwhile.
            trio.TooSlowError: On leaving: its TTL ran out.

        Durability: entering, and every method of the task, return once the hub has it on disk.
        Cancellation: of the block, the task is cancelled; the hub is told within 5 s.
        """
        self.identity.check_attached()
        spec = TaskSpec(
            title=title,
            description=description,
            payload=dict(payload or {}),
            capability=capability,
        )
        if lease is not None:
            if checkpoint_store is not None or resume_from is not None:
                raise ValueError(
                    "a task with a `lease` keeps its state at the hub and is gone on with under "
                    "its own id: leave `checkpoint_store` and `resume_from` out"
                )
            return open_leased(
                self, spec, task_id=task_id, lease=lease, ttl=ttl, channel_id=channel_id
            )
        if task_id is not None:
            raise ValueError("`task_id` is for tasks with a `lease`, which others can go on with")
        return Task.open(
            self,
            spec,
            ttl=ttl,
            channel_id=channel_id,
            checkpoint_store=checkpoint_store,
            resume_from=resume_from,
        )

    # What could not be delivered to it

    async def dead_letters(
        self, *, limit: int = LIST_LIMIT_DEFAULT, after: str | None = None
    ) -> DeadLetterPage:
        """
        List what its handler failed on too often, and what its inbox had no room for.

        Args:
            limit: At most so many.
            after: Go on behind an earlier page: its `after`.
        """
        self.identity.check_attached()
        return await self.hub_client.list_dead_letters(self.agent_id, limit=limit, after=after)

    async def read_dead_letter(self, envelope_id: str) -> Envelope:
        """Read the envelope of one of them. Raises `NotFoundError`."""
        self.identity.check_attached()
        return await self.hub_client.read_dead_letter(self.agent_id, envelope_id)

    async def replay_dead_letter(self, envelope_id: str) -> KeptLetter:
        """Have one of them delivered to the handler once more. Raises `NotFoundError`."""
        self.identity.check_attached()
        return await self.hub_client.replay_dead_letter(self.agent_id, envelope_id)

    async def discard_dead_letter(self, envelope_id: str) -> None:
        """Throw one of them away. Raises `NotFoundError`."""
        self.identity.check_attached()
        await self.hub_client.discard_dead_letter(self.agent_id, envelope_id)

    # Itself

    async def set_resume(self, resume: Resume) -> None:
        """Replace its resume."""
        self.identity.check_attached()
        await self.hub_client.set_resume(self.agent_id, resume)
        self._resume = await self.hub_client.get_resume(self.agent_id)

    async def set_skill(self, skill_md: str | None) -> None:
        """Replace its skill page; None removes it."""
        self.identity.check_attached()
        await self.hub_client.set_skill(self.agent_id, skill_md)

    async def set_rule(self, rule: Rule) -> None:
        """Replace its rule."""
        self.identity.check_attached()
        await self.hub_client.set_rule(self.agent_id, rule)
        self._rule = rule

    async def unregister(self) -> None:
        """Remove it from the hub, for good. Idempotent."""
        if self.identity.detached is None:
            await self.hub_client.unregister(self.agent_id)
