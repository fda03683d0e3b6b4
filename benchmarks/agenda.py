"""What is asked, and at which sizes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "LONG", "QUICK", "QUICK_SWEEPS", "SWEEPS", "Question"]


@dataclass(frozen=True)
class Question:
    """
    A question at one size.

    Args:
        name: Its module in `benchmarks.questions`.
        sizes: What its `ask` gets.
        headline: The figure that ratios are taken of; CPU follows wherever it is known.
        rounds: At most so many; long ones are not repeated.
        load: The module that makes the load. Only this project's hub understands its own client's
            dialect, so with `client_load` the others are not asked.
        ours_alone: Others are not asked: it would take them hours.
    """

    name: str
    sizes: dict[str, int]
    headline: str
    rounds: int = 99
    load: str = "plain_load"
    ours_alone: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} ({', '.join(f'{k} {v:,}' for k, v in self.sizes.items())})"


FULL: tuple[Question, ...] = (
    Question("one_conversation", {"posts": 2_000}, "posts_per_second"),
    Question("one_conversation", {"posts": 5_000}, "posts_per_second"),
    Question("many_channels", {"channels": 50, "posts": 5_000}, "posts_per_second"),
    Question(
        "pipelined",
        {"channels": 50, "posts": 20_000, "clients": 10, "window": 10},
        "envelopes_per_second",
        load="client_load",
    ),
    Question("fan_out", {"participants": 50, "posts": 200}, "deliveries_per_second"),
    Question("fan_out", {"participants": 200, "posts": 50}, "deliveries_per_second"),
    Question(
        "client_fan_out",
        {"participants": 50, "posts": 200},
        "deliveries_per_second",
        load="client_load",
    ),
    Question(
        "client_fan_out",
        {"participants": 200, "posts": 50},
        "deliveries_per_second",
        load="client_load",
    ),
    Question("read_log", {"repeats": 30}, "read_1000_ms"),
    Question("garbage", {"frames": 5_000, "posts": 500}, "worst_ms"),
    Question("long_channel", {"posts": 20_000}, "last_over_first_cpu", rounds=1),
    Question("redelivery", {"recipients": 1, "each": 2_000}, "all_delivered_seconds"),
    Question("redelivery", {"recipients": 1, "each": 10_000}, "all_delivered_seconds"),
    Question("redelivery", {"recipients": 100, "each": 100}, "all_delivered_seconds"),
    Question("stalled_reader", {"participants": 100, "posts": 450}, "p99_ratio"),
    Question("stalled_large", {"posts": 200, "kilobytes": 500}, "all_delivered_seconds", rounds=1),
    Question(
        "worst_stall",
        {"envelopes": 100_000, "channels": 200, "owed": 2_000, "repeats": 10},
        "worst_ms",
        rounds=1,
    ),
    Question("reconnect_storm", {"clients": 500, "owed": 10}, "all_delivered_seconds"),
    Question("idle", {"connections": 500, "agents": 5_000}, "kb_per_connection", rounds=1),
    Question(
        "one_turn",
        {"short": 10, "middle": 1_000, "long": 10_000, "turns": 15},
        "turn_middle_ms",
        rounds=1,
    ),
    Question("open_store", {"envelopes": 10_000, "repeats": 3}, "open_seconds", rounds=1),
    Question("open_store", {"envelopes": 100_000, "repeats": 3}, "open_seconds", rounds=1),
    Question(
        "cold_post", {"posts": 100_000, "repeats": 3}, "first_post_ms", rounds=1, ours_alone=True
    ),
    Question(
        "long_tail",
        {"envelopes": 100_000, "repeats": 100},
        "last_50_by_position_ms",
        rounds=1,
        ours_alone=True,
    ),
)

QUICK: tuple[Question, ...] = (
    Question("one_conversation", {"posts": 300}, "posts_per_second"),
    Question("many_channels", {"channels": 5, "posts": 300}, "posts_per_second"),
    Question(
        "pipelined",
        {"channels": 5, "posts": 200, "clients": 2, "window": 5},
        "envelopes_per_second",
        load="client_load",
    ),
    Question("fan_out", {"participants": 10, "posts": 30}, "deliveries_per_second"),
    Question(
        "client_fan_out",
        {"participants": 10, "posts": 30},
        "deliveries_per_second",
        load="client_load",
    ),
    Question("read_log", {"repeats": 3}, "read_1000_ms"),
    Question("garbage", {"frames": 5_000, "posts": 50}, "worst_ms"),
    Question("long_channel", {"posts": 1_100}, "last_over_first_cpu", rounds=1),
    Question("redelivery", {"recipients": 1, "each": 300}, "all_delivered_seconds"),
    Question("redelivery", {"recipients": 10, "each": 30}, "all_delivered_seconds"),
    Question("stalled_reader", {"participants": 10, "posts": 60}, "p99_ratio"),
    Question("stalled_large", {"posts": 10, "kilobytes": 100}, "all_delivered_seconds", rounds=1),
    Question(
        "worst_stall",
        {"envelopes": 500, "channels": 5, "owed": 50, "repeats": 2},
        "worst_ms",
        rounds=1,
    ),
    Question("reconnect_storm", {"clients": 20, "owed": 5}, "all_delivered_seconds"),
    Question("idle", {"connections": 30, "agents": 30}, "kb_per_connection", rounds=1),
    Question("idle_agents", {"agents": 40, "connections": 4}, "all_delivered_seconds", rounds=1),
    Question(
        "millionth",
        {"early": 200, "late": 600, "posts": 200},
        "late_over_early_cpu",
        rounds=1,
        ours_alone=True,
    ),
    Question(
        "one_turn",
        {"short": 5, "middle": 20, "long": 60, "turns": 3},
        "turn_middle_ms",
        rounds=1,
    ),
    Question("open_store", {"envelopes": 500, "repeats": 1}, "open_seconds", rounds=1),
    Question(
        "cold_post", {"posts": 1_000, "repeats": 1}, "first_post_ms", rounds=1, ours_alone=True
    ),
    Question(
        "long_tail",
        {"envelopes": 300, "repeats": 3},
        "last_50_by_position_ms",
        rounds=1,
        ours_alone=True,
    ),
)

#: What takes minutes by itself, and is asked where it is asked for (``--long``).
LONG: tuple[Question, ...] = (
    Question(
        "open_store",
        {"envelopes": 1_000_000, "repeats": 3},
        "open_seconds",
        rounds=1,
        ours_alone=True,
    ),
    Question(
        "cold_post", {"posts": 1_000_000, "repeats": 3}, "first_post_ms", rounds=1, ours_alone=True
    ),
    Question(
        "idle_agents", {"agents": 10_000, "connections": 100}, "all_delivered_seconds", rounds=1
    ),
    Question(
        "millionth",
        {"early": 10_000, "late": 1_000_000, "posts": 10_000},
        "late_over_early_cpu",
        rounds=1,
        ours_alone=True,
    ),
)

#: One thing grows, and the rest stays: what `benchmarks.plots` draws.
SWEEPS: tuple[Question, ...] = (
    Question("long_channel", {"posts": 20_000}, "last_over_first_cpu"),
    *(
        Question("many_channels", {"channels": channels, "posts": 4_000}, "posts_per_second")
        for channels in (1, 5, 25, 50, 100, 200)
    ),
    *(
        Question(
            "fan_out",
            {"participants": participants, "posts": 10_000 // participants},
            "deliveries_per_second",
        )
        for participants in (5, 10, 25, 50, 100, 200)
    ),
)

QUICK_SWEEPS: tuple[Question, ...] = (
    Question("long_channel", {"posts": 600}, "last_over_first_cpu"),
    *(
        Question("many_channels", {"channels": channels, "posts": 200}, "posts_per_second")
        for channels in (1, 5, 10)
    ),
    *(
        Question("fan_out", {"participants": number, "posts": 20}, "deliveries_per_second")
        for number in (2, 5, 10)
    ),
)
