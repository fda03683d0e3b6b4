"""One trace from the sender over the hub to the handler and back, over real sockets."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from trio_hub import (
    FunctionAgent,
    HubClient,
    HubListener,
    NetworkError,
    Passport,
    Turn,
    WsLink,
    _tracing,
)
from trio_hub._tracing import find_tracing

from .hub.peer import open_house

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
TEXT = "what-nobody-else-may-read"


class Spans:
    """What was traced."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.tracer = provider.get_tracer("test")
        self._exporter = exporter

    def of(self, name: str, event_type: str | None = None) -> list[ReadableSpan]:
        return [
            span
            for span in self._exporter.get_finished_spans()
            if span.name == f"trio_hub {name}"
            and event_type in (None, (span.attributes or {}).get("trio_hub.event_type"))
        ]

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """An application that traces. The provider of a process can be set only once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(_tracing, "tracer_provider", lambda: provider)
    return Spans(provider, exporter)


def ids(span: ReadableSpan) -> tuple[int, int, int | None]:
    assert span.context is not None
    return (
        span.context.trace_id,
        span.context.span_id,
        None if span.parent is None else span.parent.span_id,
    )


async def answer(turn: Turn) -> str:
    return turn.text.upper()


async def silence(_turn: Turn) -> None:
    return None


async def test_question_and_answer_are_one_trace_over_client_hub_and_client(spans: Spans) -> None:
    async with open_house(over="ws") as house:
        assert isinstance(house.link, WsLink)
        async with HubClient(house.link) as of_bob, HubClient(house.link) as of_alice:
            await of_bob.register(FunctionAgent("bob", answer), Passport(name="bob"))
            alice = await of_alice.register(FunctionAgent("alice", silence), Passport(name="alice"))
            channel = await alice.open(type="consulting", target="bob")
            with spans.tracer.start_as_current_span("outer") as outer:
                await channel.send(TEXT)
            await alice.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.event_data.get("text") == TEXT.upper(),
                timeout=20,
            )
    trace, outer_id = outer.get_span_context().trace_id, outer.get_span_context().span_id
    asked, replied = sorted(spans.of("post", "ag2.msg.text"), key=lambda it: it.start_time or 0)
    accepted, accepted_reply = spans.of("accept", "ag2.msg.text")
    commits = {ids(span)[2]: span for span in spans.of("commit")}
    handled = next(it for it in spans.of("handle", "ag2.msg.text") if ids(it)[2] == ids(asked)[1])
    assert ids(asked) == (trace, ids(asked)[1], outer_id)
    assert ids(accepted)[::2] == (trace, ids(asked)[1])
    assert ids(commits[ids(accepted)[1]])[0] == trace
    # The answer, posted while the question was handled.
    assert ids(replied)[::2] == (trace, ids(handled)[1])
    assert ids(accepted_reply)[::2] == (trace, ids(replied)[1])
    delivered = {ids(span)[2] for span in spans.of("deliver") if ids(span)[0] == trace}
    assert {ids(asked)[1], ids(replied)[1]} <= delivered
    for span in spans.all():
        assert TEXT.lower() not in span.to_json().lower()


async def test_the_trace_of_a_peer_that_names_one_itself_goes_on(spans: Spans) -> None:
    """As an AG2 client does: it writes a traceparent, and knows nothing of ours."""
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, TEXT, trace_id=TRACEPARENT)
        assert (await bob.hears(TEXT))["envelope"]["trace_id"] == TRACEPARENT
        await bob.quiet()
        for name in ("accept", "deliver"):
            (span,) = [it for it in spans.of(name) if ids(it)[0] == int(TRACE, 16)]
            assert ids(span)[2] == int(SPAN, 16)


@pytest.mark.parametrize(
    "trace_id", [None, "", "no trace", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]
)
async def test_what_is_no_traceparent_begins_a_trace(spans: Spans, trace_id: str | None) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "hi", trace_id=trace_id)
        assert (await bob.hears("hi"))["envelope"]["trace_id"] == trace_id
        (span,) = spans.of("accept", "ag2.msg.text")
        assert span.parent is None


async def test_failures_say_what_kind_they_are_and_nothing_more(spans: Spans) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("consulting", bob)
        await alice.say(channel_id, TEXT)
        with pytest.raises(NetworkError):
            await alice.say(channel_id, TEXT)
        bob.nack(await bob.hears(TEXT), TEXT)
        await bob.quiet()
        bob.cut()
        await bob.gone()
    refused = [it for it in spans.of("accept") if it.status.status_code is StatusCode.ERROR]
    assert [it.status.description for it in refused] == ["protocol_error"]
    ended = {it.status.description for it in spans.of("deliver")}
    assert {"nack", "connection_lost"} <= ended
    for span in spans.all():
        assert TEXT not in span.to_json()


async def test_a_handler_that_raises_is_an_error_of_its_span(spans: Spans) -> None:
    failed = trio.Event()

    async def broken(_turn: Turn) -> None:
        raise ValueError(TEXT)

    class Hears(HubListener):
        async def on_turn_failed(self, *_: str) -> None:
            failed.set()

    async with open_house(over="ws") as house:
        assert isinstance(house.link, WsLink)
        async with HubClient(house.link) as client, house.hub.add_listener(Hears()):
            await client.register(FunctionAgent("bob", broken), Passport(name="bob"))
            alice = await client.register(FunctionAgent("alice", silence), Passport(name="alice"))
            channel = await alice.open(type="consulting", target="bob")
            await channel.send("hi")
            with trio.fail_after(20):
                await failed.wait()
    span = spans.of("handle", "ag2.msg.text")[0]
    assert span.status.description == "ValueError"
    assert TEXT not in span.to_json()


def test_one_who_does_not_trace_imports_nothing_and_has_no_spans() -> None:
    assert find_tracing() is None
    code = (
        "import sys, trio_hub; from trio_hub._tracing import find_tracing\n"
        "assert find_tracing() is None\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_provider_that_does_nothing_is_none() -> None:
    code = (
        "from opentelemetry import trace; from trio_hub._tracing import find_tracing\n"
        "assert find_tracing() is None\n"
        "trace.set_tracer_provider(trace.NoOpTracerProvider())\n"
        "assert find_tracing() is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_provider_that_was_set_is_found() -> None:
    code = (
        "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider\n"
        "from trio_hub._tracing import find_tracing\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "assert find_tracing() is not None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
