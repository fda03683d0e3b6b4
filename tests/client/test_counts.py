"""What a message costs a client, in switches between tasks: times are no measure, counts are."""

from __future__ import annotations

from collections import Counter

import msgspec
import trio

from trio_hub.client import AgentClient, ScriptedAgent
from trio_hub.records import EV_TEXT, Envelope
from trio_hub.wire.frames import ReceiptFrame

from .conftest import Connect
from .scripted_hub import text_for

MANY = 40


class Steps(trio.abc.Instrument):
    """Counts how often tasks are run, by their names."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name.rpartition(".")[2]] += 1


async def test_a_post_costs_its_task_one_switch(connect: Connect) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))

        async def say(number: int) -> None:
            note = Envelope(
                channel_id="c", sender_id="", event_type=EV_TEXT, event_data={"text": str(number)}
            )
            assert await bob.send_envelope(note) == f"id of {number}"

        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        async with trio.open_nursery() as nursery:
            for number in range(MANY):
                nursery.start_soon(say, number, name="say")
            for _ in range(MANY):
                request = await peer.next_request("post_envelope")
                posted = msgspec.json.decode(request.params)["envelope"]
                peer.answer(request, f"id of {posted['event_data']['text']}")
        trio.lowlevel.remove_instrument(steps)
        # Begun, and answered.
        assert steps.of["say"] == 2 * MANY


async def test_a_delivery_to_a_handler_that_does_not_wait_costs_one_step(connect: Connect) -> None:
    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        pass

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for number in range(MANY):
            peer.send(text_for(bob.agent_id, str(number), channel_id=f"{number}"))
        for _ in range(MANY):
            await peer.next(ReceiptFrame)
        trio.lowlevel.remove_instrument(steps)
        assert steps.of["_work"] == MANY


async def test_a_channel_whose_handler_does_not_wait_lets_others_have_their_turn(
    connect: Connect,
) -> None:
    in_a_row = 0
    most_in_a_row = 0

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        nonlocal in_a_row, most_in_a_row
        in_a_row += 1
        most_in_a_row = max(most_in_a_row, in_a_row)

    async def others() -> None:
        nonlocal in_a_row
        while True:
            await trio.lowlevel.checkpoint()
            in_a_row = 0

    async with connect() as (client, peer), trio.open_nursery() as nursery:
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        nursery.start_soon(others)
        peer.send(*(text_for(bob.agent_id, str(number)) for number in range(MANY)))
        for _ in range(MANY):
            await peer.next(ReceiptFrame)
        nursery.cancel_scope.cancel()
    # Eight and eight: tasks are run in no order, so the other may stand between or around.
    assert 8 <= most_in_a_row <= 16
