"""One seed decides everything: virtual time, and every source of randomness that our code or its libraries use."""

from __future__ import annotations

import os
import random
import sys
import time
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import time_machine
from botocore.retries.quota import RetryQuota

EPOCH = 1_800_000_000.0
"""Every run starts here: 2027-01-15 08:00 UTC."""

_REAL_SLEEP = time.sleep
_REAL_MONOTONIC = time.monotonic
_QUOTAS: list[RetryQuota] = []


class VirtualTime:
    """The one clock of a run. It moves only when somebody moves it."""

    def __init__(self, traveller: time_machine.Traveller) -> None:
        self._traveller = traveller
        self.now = EPOCH

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds, to the microsecond."""
        self.advance_to(self.now + seconds)

    def advance_to(self, moment: float) -> None:
        """Move on to a moment; never back."""
        self.now = max(self.now, round(moment, 6))
        self._traveller.move_to(self.now)


def _remember_quota(original: Callable[..., None]) -> Callable[..., None]:
    def initialise(self: RetryQuota, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _QUOTAS.append(self)

    return initialise


# The SDK's retry quota is hidden state of a client that outlives a run; clients are expensive, so they are kept and
# their quota is refilled instead.
RetryQuota.__init__ = _remember_quota(RetryQuota.__init__)  # type: ignore[method-assign]


_sleep: Callable[[float], None] = _REAL_SLEEP
_monotonic: Callable[[], float] = _REAL_MONOTONIC
_seen_modules = 0


def _dispatch_sleep(seconds: float) -> None:
    _sleep(seconds)


def _dispatch_monotonic() -> float:
    return _monotonic()


def _free_captured() -> None:
    """Replace the clock functions that our modules took as default arguments before a run could replace them."""
    global _seen_modules
    if len(sys.modules) == _seen_modules:
        return
    _seen_modules = len(sys.modules)
    swap = {id(_REAL_SLEEP): _dispatch_sleep, id(_REAL_MONOTONIC): _dispatch_monotonic}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in {"oms", "functions"}:
            continue
        for holder in [module, *(entry for entry in vars(module).values() if isinstance(entry, type))]:
            for member in list(vars(holder).values()):
                function = getattr(member, "__func__", member)
                if isinstance(function, types.FunctionType) and function.__defaults__:
                    function.__defaults__ = tuple(swap.get(id(value), value) for value in function.__defaults__)


@contextmanager
def deterministic(seed: int | str, sleep: Callable[[float], None]) -> Iterator[VirtualTime]:
    """Freeze time at ``EPOCH``, derive all randomness from ``seed`` and turn ``time.sleep`` into ``sleep``."""
    global _sleep, _monotonic
    source = random.Random(f"entropy {seed}")

    def urandom(size: int) -> bytes:
        return source.randbytes(size)

    def uuid4() -> uuid.UUID:
        return uuid.UUID(bytes=urandom(16), version=4)

    travel = time_machine.travel(EPOCH, tick=False)
    virtual = VirtualTime(travel.start())

    def monotonic() -> float:
        return virtual.now - EPOCH + 1000.0

    state = random.getstate()
    originals = (os.urandom, uuid.uuid4, random._urandom)  # type: ignore[attr-defined]
    random.seed(f"jitter {seed}")
    os.urandom, uuid.uuid4, random._urandom = urandom, uuid4, urandom  # type: ignore[attr-defined]
    time.sleep, time.monotonic = sleep, monotonic  # type: ignore[assignment]
    _sleep, _monotonic = sleep, monotonic
    _free_captured()
    for quota in _QUOTAS:
        quota._available_capacity = quota._max_capacity  # type: ignore[attr-defined]
    try:
        yield virtual
    finally:
        time.sleep, time.monotonic = _REAL_SLEEP, _REAL_MONOTONIC
        _sleep, _monotonic = _REAL_SLEEP, _REAL_MONOTONIC
        os.urandom, uuid.uuid4, random._urandom = originals  # type: ignore[attr-defined]
        random.setstate(state)
        travel.stop()
