"""What a channel can take now: one item a channel holds its breaker, its pauses and its budgets for all workers.

A channel that fails is left alone: after a few failures in a row the breaker opens, and nobody calls until a pause is
over; then one worker probes while the others still wait. A channel that asks for a pause gets it from everybody. Calls
are reserved before they are made, from a rate and from a day's budget, both learned from the channel's own answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from oms.channels.port import Limits, Quota
from oms.runtime import telemetry
from oms.runtime.clock import Clock, from_text, to_text
from oms.runtime.dynamo import Item, Table

OPENS_AFTER = 5
"""Failures in a row."""
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=15)
PROBE = timedelta(seconds=60)
"""How long a probe may take before another worker may try."""
BURST_SECONDS = 2.0
"""How far ahead of the rate calls may be reserved."""
URGENT_SHARE = 0.02
"""Of a day's budget: kept for listings that have to show nothing."""
_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Health:
    """How a channel stands. ``state`` is closed (calls flow), open (nobody calls) or half_open (one worker probes)."""

    state: str = "closed"
    failures: int = 0
    openings: int = 0
    paused_until: str = ""
    reason: str = ""
    changed_at: str = ""
    prober: str = ""
    reserved_until: float = 0.0
    """Epoch seconds up to which the rate is spoken for."""
    rate: float = 0.0
    """Calls a second as learned; 0 takes the declared one."""
    day: str = ""
    used: int = 0
    per_day: int = 0
    lag_ms: int | None = None
    """Of the latest acknowledgement, from the change of stock."""
    acknowledged_at: str = ""
    version: int = 0

    def is_left_alone(self, now: datetime) -> bool:
        """Whether nobody is to call the channel now."""
        return bool(self.paused_until) and from_text(self.paused_until) > now


class DynamoHealth:
    """The health of channels, in the inventory table."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self.table = table
        self.clock = clock

    def read(self, channel: str) -> Health:
        """How the channel stands."""
        item = self.table.get(f"CHANNEL#{channel}", "HEALTH")
        return _health(item) if item else Health()

    def admit(self, channel: str, limits: Limits, owner: str, calls: int, *, urgent: bool = False) -> float:
        """Reserve calls. 0 when they may be made at once, or the seconds after which to ask again; costs one read when
        the answer is no. ``urgent`` calls may use the last of a day's budget."""
        wait = 0.0

        def decide(health: Health, now: datetime) -> Health | None:
            nonlocal wait
            wait = 0.0
            if health.state == "half_open" and health.prober == owner:
                return health
            paused = (from_text(health.paused_until) - now).total_seconds() if health.paused_until else 0.0
            if paused > 0:
                wait = paused
                return None
            if health.state != "closed":
                until = to_text(now + PROBE)
                return replace(health, state="half_open", prober=owner, paused_until=until, changed_at=to_text(now))
            reserved, wait = _reserve(health, limits, calls, now, urgent=urgent)
            return reserved

        self._change(channel, decide)
        return wait

    def succeeded(self, channel: str, quota: Quota | None = None, lag_ms: int | None = None) -> None:
        """The channel answers, with how old the change was that it acknowledged. Writes only if that is news."""

        def decide(health: Health, now: datetime) -> Health | None:
            better = _learned(health, quota, now)
            if health.failures or health.state != "closed":
                better = replace(
                    better,
                    state="closed",
                    failures=0,
                    openings=0,
                    paused_until="",
                    reason="",
                    prober="",
                    changed_at=to_text(now),
                )
            if lag_ms is not None:
                better = replace(better, lag_ms=lag_ms, acknowledged_at=to_text(now))
            return better if better != health else None

        before, after = self._change(channel, decide)
        if before.state != after.state:
            telemetry.logger.info("channel_breaker_closed", channel=channel)

    def failed(self, channel: str, reason: str) -> None:
        """The channel did not answer, or answered that it cannot. Enough of that, or a probe that fails, opens it."""

        def decide(health: Health, now: datetime) -> Health:
            failures = health.failures + 1
            if failures < OPENS_AFTER and health.state == "closed":
                return replace(health, failures=failures, reason=reason[:200])
            pause = min(FIRST_PAUSE * 2 ** min(health.openings, 10), LONGEST_PAUSE)
            return replace(
                health,
                state="open",
                failures=failures,
                openings=health.openings + 1,
                paused_until=to_text(now + pause),
                reason=reason[:200],
                prober="",
                changed_at=to_text(now),
            )

        before, after = self._change(channel, decide)
        if after.state == "open" and before.state != "open":
            telemetry.count("ChannelBreakerOpened", channel=channel)
            telemetry.logger.warning("channel_breaker_opened", channel=channel, until=after.paused_until)

    def throttled(self, channel: str, limits: Limits, seconds: float) -> None:
        """The channel asked everybody to wait; from then on it is asked at half the rate, until it answers again."""

        def decide(health: Health, now: datetime) -> Health:
            until = to_text(now + timedelta(seconds=seconds))
            slower = max((health.rate or limits.requests_per_second) / 2, limits.requests_per_second / 16)
            closed = replace(health, state="closed", prober="", failures=0)
            return replace(closed, paused_until=max(until, health.paused_until), rate=slower, reason="throttled")

        self._change(channel, decide)

    def _change(self, channel: str, decide: Callable[[Health, datetime], Health | None]) -> tuple[Health, Health]:
        """Read, decide, write under the version that was read. Contention leaves it as it is: what is kept here guides
        the workers and protects nothing that a channel does not protect itself."""
        seen = Health()
        for attempt in range(_ATTEMPTS):
            seen = self.read(channel)
            wanted = decide(seen, self.clock())
            if wanted is None or wanted == seen:
                return seen, seen
            wanted = replace(wanted, version=seen.version + 1)
            write = self.table.update(
                "health",
                (f"CHANNEL#{channel}", "HEALTH"),
                "SET entity = :entity, #state = :state, failures = :failures, openings = :openings, "
                "paused_until = :until, reason = :reason, changed_at = :at, prober = :prober, reserved_ms = :reserved, "
                "rate_milli = :rate, #day = :day, used = :used, per_day = :per_day, "
                "lag_ms = :lag, acknowledged_at = :acknowledged, version = :version",
                "attribute_not_exists(version) OR version = :seen",
                names={"#state": "state", "#day": "day"},
                values={
                    ":entity": "health",
                    ":state": wanted.state,
                    ":failures": wanted.failures,
                    ":openings": wanted.openings,
                    ":until": wanted.paused_until,
                    ":reason": wanted.reason,
                    ":at": wanted.changed_at,
                    ":prober": wanted.prober,
                    ":reserved": int(wanted.reserved_until * 1000),
                    ":rate": int(wanted.rate * 1000),
                    ":day": wanted.day,
                    ":used": wanted.used,
                    ":per_day": wanted.per_day,
                    ":lag": wanted.lag_ms,
                    ":acknowledged": wanted.acknowledged_at,
                    ":version": wanted.version,
                    ":seen": seen.version,
                },
            )
            if self.table.write_one(write):
                return seen, wanted
            self.table.back_off(attempt)
        return seen, seen


def _reserve(health: Health, limits: Limits, calls: int, now: datetime, *, urgent: bool) -> tuple[Health | None, float]:
    """Calls out of the day's budget and of the rate: the health with them reserved, or the seconds to wait."""
    today = to_text(now)[:10]
    used = health.used if health.day == today else 0
    per_day = health.per_day or limits.requests_per_day
    if per_day:
        usable = per_day if urgent else int(per_day * (1 - URGENT_SHARE))
        if used + calls > usable:
            tomorrow = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            return None, (tomorrow - now).total_seconds()
    rate = health.rate or limits.requests_per_second
    start = max(health.reserved_until, now.timestamp())
    ahead = start - now.timestamp()
    if ahead > BURST_SECONDS and not urgent:
        return None, ahead
    reserved = round(start + calls / rate, 3)
    return replace(health, reserved_until=reserved, day=today, used=used + calls, paused_until=""), 0.0


def _learned(health: Health, quota: Quota | None, now: datetime) -> Health:
    """What the channel's answers say of its limits replaces what we believed."""
    if quota is not None:
        if quota.per_day:
            health = replace(health, per_day=quota.per_day)
        if quota.per_day and quota.remaining_today is not None:
            told = max(0, quota.per_day - quota.remaining_today)
            # Others may use the same key: the channel's count is right where it is above ours.
            if health.day == to_text(now)[:10] and told > health.used:
                health = replace(health, used=told)
        if quota.per_second and health.rate == 0.0:
            health = replace(health, rate=quota.per_second)
    if health.rate and quota is not None and quota.per_second:
        return replace(health, rate=round(min(health.rate * 1.05, quota.per_second), 3))
    return health


def _health(item: Item) -> Health:
    return Health(
        state=item["state"],
        failures=item["failures"],
        openings=item["openings"],
        paused_until=item["paused_until"],
        reason=item["reason"],
        changed_at=item["changed_at"],
        prober=item["prober"],
        reserved_until=item["reserved_ms"] / 1000,
        rate=item["rate_milli"] / 1000,
        day=item["day"],
        used=item["used"],
        per_day=item["per_day"],
        lag_ms=item["lag_ms"],
        acknowledged_at=item["acknowledged_at"],
        version=item["version"],
    )
