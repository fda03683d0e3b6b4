"""Tasks and checkpoints: AG2's at our hub, and ours at AG2's, by the same lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .casts import members, pairs

if TYPE_CHECKING:
    from .conftest import Side, Stage

pytestmark = pytest.mark.interop


@members
async def test_task_is_followed_to_its_end(stage: Stage, hub: Side, side: Side) -> None:
    await stage.hub(hub)
    worker = await stage.party(side, "worker")
    steps = [("progress", {"read": 1, "of": 2}), ("progress", {"read": 2})]
    begun = await worker.call("begin_task", title="read", steps=steps)
    task_id = begun["task_id"]
    assert begun["resumed_state"] is None

    task = await worker.call("get_task", task_id=task_id)
    assert (task["state"], task["owner_id"]) == ("running", worker.agent_id)
    assert task["spec"] == {
        "title": "read",
        "description": "",
        "payload": {"from": side},
        "capability": None,
    }
    assert task["progress"] == {"read": 2, "of": 2}
    assert task["last_progress_at"]
    assert task["completed_at"] is None

    await worker.call("end_task", task_id=task_id, steps=[("complete", {"pages": 12})])
    task = await worker.call("get_task", task_id=task_id)
    assert (task["state"], task["result"]) == ("completed", {"pages": 12})
    assert task["completed_at"]


@members
@pytest.mark.parametrize(
    ("step", "state", "error"),
    [
        (("fail", "no paper"), "failed", "no paper"),
        (("cancel", "not wanted"), "cancelled", "not wanted"),
        (("raise", "by nothing"), "failed", "by nothing"),
    ],
    ids=["failed", "cancelled", "raised"],
)
async def test_task_ends_otherwise(
    stage: Stage, hub: Side, side: Side, step: tuple[str, Any], state: str, error: str
) -> None:
    await stage.hub(hub)
    worker = await stage.party(side, "worker")
    begun = await worker.call("begin_task", title="read", steps=[])
    await worker.call("end_task", task_id=begun["task_id"], steps=[step])
    task = await worker.call("get_task", task_id=begun["task_id"])
    assert (task["state"], task["result"]) == (state, None)
    assert error in task["error"]


@members
async def test_tasks_are_listed_by_their_state(stage: Stage, hub: Side, side: Side) -> None:
    await stage.hub(hub)
    worker = await stage.party(side, "worker")
    ids = [
        (await worker.call("begin_task", title=title, steps=[]))["task_id"]
        for title in ("one", "two", "three")
    ]
    await worker.call("end_task", task_id=ids[1], steps=[])

    async def listed(**filters: Any) -> list[str]:
        tasks: list[str] = await worker.call("list_tasks", agent_id=worker.agent_id, **filters)
        return tasks

    assert await listed() == ids
    assert await listed(state="running") == [ids[0], ids[2]]
    assert await listed(state="completed") == [ids[1]]
    assert await listed(limit=2) == ids[:2]


@members
async def test_ends_are_counted_in_the_resume(stage: Stage, hub: Side, side: Side) -> None:
    await stage.hub(hub)
    worker = await stage.party(side, "worker")
    for step in (("complete", 1), ("complete", 2), ("fail", "no paper")):
        begun = await worker.call("begin_task", title="read", steps=[], capability="interop")
        await worker.call("end_task", task_id=begun["task_id"], steps=[step])
    resume = (await worker.call("look_up", name="worker"))["resume"]
    seen = resume["observed"]["interop"]
    assert (seen["n"], seen["completed"], seen["failed"], seen["expired"]) == (3, 2, 1, 0)


@pairs
async def test_task_of_a_channel_is_seen_by_who_is_in_it_and_nobody_else(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    await stage.hub(hub)
    worker = await stage.party(answerer, "worker")
    alice = await stage.party(asker, "alice", behaviour="listens")
    mallory = await stage.party(asker, "mallory")
    channel = await alice.open("conversation", worker)
    begun = await worker.call(
        "begin_task", title="read", steps=[("progress", {"read": 1})], channel_id=channel
    )
    task_id = begun["task_id"]

    seen = await alice.call("get_task", task_id=task_id)
    assert seen == await worker.call("get_task", task_id=task_id)
    assert (seen["channel_id"], seen["progress"]) == (channel, {"read": 1})
    assert await alice.call("list_tasks", channel_id=channel) == [task_id]
    assert await mallory.refusal("get_task", task_id=task_id) == "NotFoundError"
    assert await mallory.call("list_tasks", channel_id=channel) == []

    await worker.call("end_task", task_id=task_id, steps=[("complete", "done")])
    seen = await alice.call("get_task", task_id=task_id)
    assert (seen["state"], seen["result"]) == ("completed", "done")


@pairs
async def test_what_one_worker_kept_the_next_one_goes_on_from(
    stage: Stage, hub: Side, asker: Side, answerer: Side
) -> None:
    """`asker` begins and is killed, the hub is killed, and `answerer` goes on under its name."""
    await stage.hub(hub)
    first = await stage.party(asker, "worker")
    state = {"page": 3, "words": ["ä", None, 0.5, True], "by": {"side": asker}}
    begun = await first.call(
        "begin_task", title="read", steps=[("checkpoint", {"page": 1}), ("checkpoint", state)]
    )
    await first.kill()
    await stage.kill_hub()
    await stage.hub(hub)

    second = await stage.party(answerer, "worker", attach=True)
    again = await second.call(
        "begin_task",
        title="read",
        steps=[("checkpoint", {"page": 4})],
        resume_from=begun["task_id"],
    )
    assert again["resumed_state"] == state
    # Each task has its own: what the second one keeps is not the first one's.
    assert again["task_id"] != begun["task_id"]
    assert await second.call("kept", task_id=begun["task_id"]) == state
    assert await second.call("kept", task_id=again["task_id"]) == {"page": 4}
    # The first one did not end: whoever has died says nothing.
    assert (await second.call("get_task", task_id=begun["task_id"]))["state"] == "running"
    await second.call("end_task", task_id=again["task_id"], steps=[])


@members
async def test_checkpoints_need_no_task_and_are_their_writers(
    stage: Stage, hub: Side, side: Side
) -> None:
    await stage.hub(hub)
    worker = await stage.party(side, "worker")
    assert await worker.call("kept", task_id="notes") is None
    await worker.call("keep", task_id="notes", state={"page": 1})
    await worker.call("keep", task_id="notes", state={})
    assert await worker.call("kept", task_id="notes") == {}

    mallory = await stage.party(side, "mallory")
    assert await mallory.refusal("kept", task_id="notes") == "AccessDeniedError"
    assert await mallory.refusal("keep", task_id="notes", state={}) == "AccessDeniedError"
