"""A channel as one of its participants sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from ..errors import ProtocolError
from ..protocol.adapters import WorkflowAdapter
from ..records import (
    EV_CONTEXT_SET,
    EV_TASK_CANCEL_REQUEST,
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    DeliveryStanding,
    Envelope,
    is_bookkeeping,
)

if TYPE_CHECKING:
    from .speaking_client import SpeakingClient

__all__ = ["Channel"]

# Envelopes read at once while looking back.
_PAGE: Final = 256


class Channel:
    """
    A handle on one channel; `AgentClient` and `HumanClient` make them, by `open`
    and `channel`.

    Args:
        metadata: What is known of it; `info` asks again.
        client: Which participant speaks.
    """

    def __init__(self, metadata: ChannelMetadata, client: SpeakingClient) -> None:
        self._metadata = metadata
        self._client = client

    def __repr__(self) -> str:
        return f"<Channel {self.channel_id} {self._metadata.manifest.type} {self.state}>"

    @property
    def channel_id(self) -> str:
        """Its id."""
        return self._metadata.channel_id

    @property
    def metadata(self) -> ChannelMetadata:
        """What was known of it when it was last asked for."""
        return self._metadata

    @property
    def state(self) -> ChannelState:
        """Where it stood then."""
        return self._metadata.state

    @property
    def is_workflow(self) -> bool:
        """Whether turns here are packets, which may hand off and finish."""
        return self._metadata.manifest.type == WorkflowAdapter.manifest.type

    async def send(
        self,
        text: str = "",
        *,
        audience: Iterable[str] | None = None,
        causation_id: str | None = None,
        event_type: str = EV_TEXT,
        event_data: Mapping[str, Any] | None = None,
        depth: int = 0,
        idempotency_key: str | None = None,
    ) -> str:
        """
        Post into the channel, and return the envelope's id.

        Args:
            text: What to say; with `event_data`, that is sent instead.
            audience: Agent ids it is for; None is every other participant. Who is named more
                than once is meant once.
            causation_id: The envelope that this answers.
            idempotency_key: Sending the same key again posts nothing again; None makes one.

        Raises:
            ProtocolError: The channel's protocol does not allow it now, or it is closed.
            InboxFull, RateLimited: Not now; wait `retry_after_seconds`.

        Durability: when this returns, the envelope is on the hub's disk.

        Cancellation: it may or may not be posted.
        """
        return await self._client.send_envelope(
            Envelope(
                channel_id=self.channel_id,
                sender_id=self._client.agent_id,
                audience=None if audience is None else tuple(audience),
                event_type=event_type,
                event_data={"text": text} if event_data is None else dict(event_data),
                causation_id=causation_id,
                depth=depth,
                idempotency_key=(
                    self._client.hub_client.new_key()
                    if idempotency_key is None
                    else idempotency_key
                ),
            )
        )

    async def cancel_turn(self, envelope_id: str, *, reason: str = "") -> str:
        """
        Ask that nobody goes on with the turn that an envelope began; return the request's id.

        Whoever works on it with this client's handlers stops and says nothing. An answer that is
        there already stays.

        Args:
            envelope_id: What `send` returned.

        Raises, Durability and Cancellation: as `send`.
        """
        return await self.send(
            event_type=EV_TASK_CANCEL_REQUEST,
            event_data={"envelope_id": envelope_id, "reason": reason},
        )

    async def standing(self, envelope_id: str) -> list[DeliveryStanding]:
        """
        Ask how far an envelope of this channel has come, to each whom it is for.

        Who waits for an answer learns whether the other is there, has it, or has handled it without
        a word. AG2's hubs do not know this: `ProtocolError`.

        Raises:
            NotFoundError: There is no such envelope, or it is not for this participant to see.

        Cancellation: nothing happens.
        """
        return await self._client.hub_client.read_standing(self.channel_id, envelope_id)

    async def info(self) -> ChannelMetadata:
        """Ask the hub how the channel stands now."""
        self._metadata = await self._client.hub_client.get_channel(self.channel_id)
        return self._metadata

    async def close(self, reason: str = "") -> ChannelMetadata:
        """
        Close the channel. What was posted before is still delivered.

        Cancellation: it may or may not be closed.
        """
        self._metadata = await self._client.hub_client.close_channel(self.channel_id, reason=reason)
        return self._metadata

    async def set_context(self, key: str, value: Any) -> str:
        """
        Set a variable of a workflow, for everybody in it; return the envelope's id.

        Anybody may, at any time; what a graph's conditions look at counts from the next turn on.

        Raises:
            ProtocolError: The channel is no workflow, or is closed.
            TooLarge: All variables together would have more than a megabyte.

        Durability and Cancellation: as `send`.
        """
        return await self._change_context({"set": {key: value}})

    async def delete_context(self, key: str) -> str:
        """Remove a variable of a workflow; nothing else changes where it is not set."""
        return await self._change_context({"delete": [key]})

    async def _change_context(self, changes: dict[str, Any]) -> str:
        if not self.is_workflow:
            raise ProtocolError(
                f"channel {self.channel_id} is a {self._metadata.manifest.type}: only workflows "
                "have context variables"
            )
        return await self.send(event_type=EV_CONTEXT_SET, event_data=changes)

    async def history(self, *, limit: int | None = 50, before: str | None = None) -> list[Envelope]:
        """
        Return the last texts and packets, oldest first.

        Args:
            limit: How many at most; None is all of them.
            before: Only what stands before the envelope of this id.

        Cancellation: nothing happens.
        """
        said: list[Envelope] = []
        if limit == 0:
            return said
        # One more, because `before` is most often the very last.
        page = _PAGE if limit is None else limit + (before is not None)
        async with aclosing(self._newest_first(page, said=True)) as log:
            async for envelope in log:
                # Ids increase along a log.
                if before is not None and envelope.envelope_id >= before:
                    continue
                if not is_bookkeeping(envelope.event_type):
                    said.append(envelope)
                if len(said) == limit:
                    break
        return said[::-1]

    async def find(self, envelope_id: str) -> Envelope | None:
        """Return the envelope of that id, or None where the channel has none that one may see."""
        async with aclosing(self._newest_first(_PAGE)) as log:
            async for envelope in log:
                if envelope.envelope_id <= envelope_id:
                    return envelope if envelope.envelope_id == envelope_id else None
        return None

    async def after(self, envelope_id: str) -> list[Envelope]:
        """
        Return everything that stands behind the envelope of that id, newest first.

        Cancellation: nothing happens.
        """
        behind: list[Envelope] = []
        async with aclosing(self._newest_first(_PAGE)) as log:
            async for envelope in log:
                if envelope.envelope_id <= envelope_id:
                    break
                behind.append(envelope)
        return behind

    async def _newest_first(
        self, page: int, *, said: bool = False
    ) -> AsyncGenerator[Envelope, None]:
        position: int | None = None
        while position is None or position > 0:
            tail = await self._client.hub_client.read_tail(
                self.channel_id, before=position, limit=min(max(page, 1), _PAGE), said=said
            )
            for envelope in reversed(tail.envelopes):
                yield envelope
            position = tail.start
