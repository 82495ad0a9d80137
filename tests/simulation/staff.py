"""The people of the house: pickers and packers at the floor, and the desk that decides about orders that were stopped.

Both are pumps: they have something to do whenever the record shows an open task or a held order, and the seed decides
when they do it, how well, and whether they do it at all.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oms.fulfillment.carrier import Address
from oms.orders.store import order_from_item
from oms.payments.news import DECIDED
from oms.runtime.clock import from_text, to_text
from tests.simulation.checkers import Key, Violation, starting
from tests.simulation.scheduler import Task
from tests.simulation.system import Reply

if TYPE_CHECKING:
    from tests.simulation.world import World

DOCK = Address("Our warehouse", "1 Dock Street", "Portland", "97209", "US", region="OR")
_TASKS = "POST /warehouse/tasks/{id}/"


class _People:
    """Errands that run as tasks; a broken promise in one of them ends the run."""

    name = ""

    def __init__(self, world: World) -> None:
        self.world = world
        self._busy: set[Any] = set()

    def next_time(self, now: float) -> float | None:
        return now if self.ready(now) else None

    def ready(self, now: float) -> bool:
        raise NotImplementedError

    def _errand(self, name: str, key: Any, body: Any) -> None:
        self._busy.add(key)

        def done(task: Task) -> None:
            self._busy.discard(key)
            if task.error is not None:
                raise task.error

        self.world.system.scheduler.spawn(name, body, on_done=done)


class Floor(_People):
    """Pickers and packers."""

    name = "floor"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._ignored: dict[Key, str] = {}
        """Tasks that somebody put aside, by the token under which they were offered."""

    def _open(self) -> list[Key]:
        books = self.world.inspector.books
        return sorted(
            key
            for key in books.tasks
            if key not in self._busy
            and not self._is_left_to_walkers(books.items["OrdersTable"][key])
            and (self.world.healed or self._ignored.get(key) != books.items["OrdersTable"][key]["task"]["token"])
        )

    def _is_left_to_walkers(self, item: dict[str, Any]) -> bool:
        planned = item["facility"] in self.world.planned and not self.world.healed
        return bool(item["task"]["kind"] == "pick" and (item.get("walks") or planned))

    def ready(self, now: float) -> bool:
        return bool(self._open())

    def idle(self) -> bool:
        return not self._open() and not self._busy

    def deliver(self, now: float) -> None:
        rng, plane = self.world.rng, self.world.system.plane
        tasks = self._open()
        key = tasks[rng.randrange(len(tasks))]
        item = self.world.inspector.books.items["OrdersTable"][key]
        if plane.strikes("token_lost", f"floor {item['task']['kind']}"):
            self._ignored[key] = item["task"]["token"]
            return
        task = f"{item['shipment_id']}-{item['task']['kind']}"
        self._errand(
            f"{item['task']['kind']}er {task[:8]}", key, lambda: self._work(task, item["facility"], dict(item))
        )

    def _work(self, task: str, facility: str, item: dict[str, Any]) -> None:
        rng = self.world.rng
        kind = item["task"]["kind"]
        if rng.random() < 0.2:
            self.world.system.request(
                "fulfillment/warehouse_api",
                "GET /warehouse/{facility}/work",
                parameters={"facility": facility},
                groups=("warehouse",),
            )
        if rng.random() < 0.5:
            self._call(task, "start")
        required: Counter[str] = Counter()
        for unit in item["units"]:
            required[unit["sku"]] += unit["quantity"]
        if kind == "pick" and not self.world.healed and rng.random() < 0.12:
            sku = sorted(required)[0]
            reply = self._call(task, "short", {"sku": sku, "quantity": 1, "reason": "bin is empty"})
            self.world.tally[f"short pick answered {reply.status}"] += 1
            return
        for sku, units in sorted(required.items()):
            seen = item.get("picked" if kind == "pick" else "packed", {}).get(sku, 0)
            for number in range(seen, units):
                self._mistake(task, required)
                reply = self._call(task, "scans", {"barcode": f"code-{sku}"}, key=f"{task}-{sku}-{number}")
                if reply.ok and rng.random() < 0.1:
                    again = self._call(task, "scans", {"barcode": f"code-{sku}"}, key=f"{task}-{sku}-{number}")
                    if again.ok and again.body != reply.body:
                        raise Violation("a_scan_counts_once", f"{reply.body} then {again.body}")
        self.world.system.scheduler.sleep(rng.choice((0.0, 1.0, 60.0)))
        reply = self._call(task, "complete")
        self.world.tally[f"{kind} completed with {reply.status}"] += 1
        if rng.random() < 0.1:
            self._call(task, "complete")

    def _mistake(self, task: str, required: Counter[str]) -> None:
        if self.world.rng.random() >= 0.08:
            return
        others = [sku for sku in self.world.stocked if sku not in required]
        if others:
            reply = self._call(task, "scans", {"barcode": f"code-{others[0]}"}, key=f"wrong-{task}-{others[0]}")
            if reply.ok:
                raise Violation("wrong_items_are_refused", f"{others[0]} was taken into {task}, which needs {required}")

    def _call(self, task: str, what: str, body: Any = None, key: str = "") -> Reply:
        headers = {"idempotency-key": key} if key else {}
        for _ in range(4):
            reply = self.world.system.request(
                "fulfillment/warehouse_api",
                _TASKS + what,
                parameters={"id": task},
                groups=("warehouse",),
                body=body,
                headers=headers,
            )
            if reply.status < 500:
                break
            self.world.system.scheduler.sleep(2.0)
        return reply


class Walkers(_People):
    """Pickers on walks, who err, and whose batteries die."""

    name = "walkers"
    PICKERS = ("kim", "lee")
    _waves = 0

    def _plan(self, facility: str, planner: str) -> None:
        reply = self._call("pat", "POST /warehouse/{facility}/waves", {}, key=f"{planner} wave", facility=facility)
        self.world.tally[f"wave answered {reply.status}"] += 1
        if reply.ok and self.world.rng.random() < 0.1:
            self._call("pat", "POST /warehouse/waves/{id}/cancel", id=reply.body["wave_id"])

    def _errands(self, now: float) -> list[tuple[str, str]]:
        """(facility, picker) of walks that somebody may take or go on with."""
        books = self.world.inspector.books
        items = [books.items["OrdersTable"][key] for key in sorted(books.walks)]
        moment = to_text(datetime.fromtimestamp(now, UTC))
        return sorted(
            {
                (item["facility"], picker)
                for item in items
                for picker in self.PICKERS
                if item["state"] in ("open", "ending")
                and (item.get("lease_until", "") <= moment or item.get("picker") == f"staff:{picker}")
                and (item["facility"], picker) not in self._busy
            }
        )

    def _unplanned(self) -> list[str]:
        """Floors with parcels that nobody has planned, while two planners may be at it at once."""
        books = self.world.inspector.books
        items = [books.items["OrdersTable"][key] for key in sorted(books.tasks)]
        waiting = {item["facility"] for item in items if item["task"]["kind"] == "pick" and not item.get("walks")}
        planning = Counter(facility for facility, who in self._busy if who.startswith("planner"))
        return sorted(facility for facility in waiting & self.world.planned if planning[facility] < 2)

    def ready(self, now: float) -> bool:
        return bool(self._errands(now) or (self._unplanned() and not self.world.healed))

    def idle(self) -> bool:
        return not self._busy and not self.world.inspector.books.walks

    def next_time(self, now: float) -> float | None:
        if self.ready(now):
            return now
        books = self.world.inspector.books
        leases = [books.items["OrdersTable"][key].get("lease_until", "") for key in books.walks]
        moments = [from_text(until).timestamp() + 0.001 for until in leases if until]
        return min(moments) if moments else None

    def deliver(self, now: float) -> None:
        errands, rng = self._errands(now), self.world.rng
        unplanned = [] if self.world.healed else self._unplanned()
        if unplanned and (not errands or rng.random() < 0.3):
            floor, self._waves = unplanned[rng.randrange(len(unplanned))], self._waves + 1
            planner = f"planner {self._waves}"
            self._errand(planner, (floor, planner), lambda: self._plan(floor, planner))
            return
        facility, picker = errands[rng.randrange(len(errands))]
        self._errand(f"walker {picker}", (facility, picker), lambda: self._walk(facility, picker))

    def _walk(self, facility: str, picker: str) -> None:
        world, rng = self.world, self.world.rng
        books = world.inspector.books
        for key in sorted(books.walks):
            item = books.items["OrdersTable"][key]
            if item["state"] == "ending" and item["facility"] == facility:
                self._call(picker, "POST /warehouse/walks/{id}/complete", id=item["walk_id"])
                return
        reply = self._call(picker, "POST /warehouse/{facility}/next", facility=facility)
        if not reply.ok or not reply.body["walk"]:
            return
        walk = reply.body["walk"]
        for stop in walk["stops"]:
            for into in stop["into"]:
                for number in range(into["picked"], into["quantity"]):
                    if not world.healed and rng.random() < 0.08:
                        self._stop_early(walk, stop, picker)
                        return
                    if not self._pick(walk, stop, into, number, picker):
                        return
        world.system.scheduler.sleep(rng.choice((0.0, 1.0, 60.0)))
        done = self._call(picker, "POST /warehouse/walks/{id}/complete", id=walk["walk_id"])
        world.tally[f"walk completed with {done.status}"] += 1

    def _pick(self, walk: Any, stop: Any, into: Any, number: int, picker: str) -> bool:
        rng = self.world.rng
        route = "POST /warehouse/walks/{id}/scans"
        if rng.random() < 0.08:
            wrong = {"sku": "NOTHING", "bin": stop["bin"]} if stop["bin"] else {"sku": "NOTHING"}
            if self._call(picker, route, wrong, id=walk["walk_id"]).ok:
                raise Violation("wrong_items_are_refused", f"NOTHING was taken on {walk['walk_id']}")
        scan = {"sku": stop["sku"], **({"bin": stop["bin"]} if stop["bin"] else {})}
        if walk["method"] == "cluster":
            tote = f"T-{walk['walk_id']}-{into['slot']}"
            scan |= {"tote": tote, "slot": into["slot"]}
        key = f"{walk['walk_id']}-{stop['sku']}-{stop['bin']}-{into['slot']}-{number}"
        reply = self._call(picker, route, scan, key=key, id=walk["walk_id"])
        if reply.ok and rng.random() < 0.1:
            again = self._call(picker, route, scan, key=key, id=walk["walk_id"])
            if again.ok and again.body != reply.body:
                raise Violation("a_scan_counts_once", f"{reply.body} then {again.body}")
        return reply.ok

    def _stop_early(self, walk: Any, stop: Any, picker: str) -> None:
        """The battery dies, somebody else goes on, or units are not there (or are not seen)."""
        kind = self.world.rng.choice(("battery", "hand-over", "short", "skip"))
        self.world.tally[f"walk left: {kind}"] += 1
        where = {"bin": stop["bin"]} if stop["bin"] else {}
        if kind == "hand-over":
            self._call(picker, "POST /warehouse/walks/{id}/hand-over", id=walk["walk_id"])
        elif kind == "short":
            body = {**where, "sku": stop["sku"], "quantity": 1, "reason": "bin is empty"}
            self._call(picker, "POST /warehouse/walks/{id}/short", body, id=walk["walk_id"])
        elif kind == "skip" and where:
            self._call(picker, "POST /warehouse/walks/{id}/skip", where, id=walk["walk_id"])

    def _call(self, picker: str, route: str, body: Any = None, key: str = "", **parameters: str) -> Reply:
        headers = {"idempotency-key": key} if key else {}
        for _ in range(4):
            reply = self.world.system.request(
                "fulfillment/warehouse_api",
                route,
                parameters=parameters,
                groups=("warehouse",),
                body=body,
                headers=headers,
                user=picker,
            )
            if reply.status < 500:
                break
            self.world.system.scheduler.sleep(2.0)
        return reply


class Desk(_People):
    """Customer service, finance and purchasing: whoever owns a hold."""

    name = "desk"
    PATIENCE = 3

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._tries: Counter[str] = Counter()

    def _held(self) -> list[str]:
        books = self.world.inspector.books
        return sorted(
            pk
            for pk in books.held
            if pk not in self._busy and self._tries[pk] < 2 * self.PATIENCE and not self._bank_decides(pk)
        )

    def _bank_decides(self, pk: str) -> bool:
        """Whether a dispute is open: nobody gives back by hand what a bank may have taken."""
        disputes = starting(self.world.inspector.books.order(pk), "DISPUTE#")
        return any(item["status"] not in DECIDED for item in disputes)

    def ready(self, now: float) -> bool:
        return self.world.healed and bool(self._held())

    def idle(self) -> bool:
        return not self._busy and not (self.world.healed and self._held())

    def deliver(self, now: float) -> None:
        held = self._held()
        pk = held[self.world.rng.randrange(len(held))]
        self._errand(f"desk {pk[6:14]}", pk, lambda: self._decide(pk))

    def _decide(self, pk: str) -> None:
        world, rng = self.world, self.world.rng
        self._tries[pk] += 1
        item = world.inspector.books.items["OrdersTable"][pk, "ORDER"]
        order = order_from_item(item)
        if self._put_right(order):
            return
        if self._tries[pk] > self.PATIENCE:
            self._cancel(order)
            if order.status.value not in {"completed", "cancelled", "expired"}:
                return
        elif order.oversold and rng.random() < 0.7:
            for sku, units in sorted(order.oversold.items()):
                body = {"type": "receive", "sku": sku, "quantity": units, "facility": "main", "reason": "reorder"}
                headers = {"idempotency-key": f"reorder-{order.order_id}-{sku}-{self._tries[pk]}"}
                world.system.request(
                    "inventory_sync/stock_api", "POST /stock/movements", body=body, headers=headers, groups=("ops",)
                )
        elif order.oversold and rng.random() < 0.5:
            self._cancel(order)
            return
        for kind in sorted(order.holds):
            world.system.request(
                "customer_service/api",
                "DELETE /orders/{id}/holds/{kind}",
                parameters={"id": order.order_id, "kind": kind},
                body={"reason": "looked at"},
                groups=("ops",),
            )
        world.tally["holds decided"] += 1

    def _put_right(self, order: Any) -> bool:
        """Finance sees to refunds that failed or that only a person can give. Returns whether there were any."""
        items = self.world.inspector.books.order(f"ORDER#{order.order_id}")
        waiting = [item for item in starting(items, "REFUND#") if item["status"] in ("failed", "by_hand")]
        disputes = {item["intent"]: item["status"] for item in starting(items, "DISPUTE#")}
        for item in waiting:
            verdict = disputes.get(item["intent"])
            what, body = "given-back", {"method": "bank_transfer", "reference": item["refund_id"][-60:]}
            if verdict == "lost":
                what, body = "withdraw", {"reason": "the bank took it back"}
            elif item["status"] == "failed" and not verdict and self.world.money_rng.random() < 0.5:
                what, body = "retry", {}
            reply = self.world.system.request(
                "customer_service/api",
                f"POST /orders/{{id}}/refunds/{{refund}}/{what}",
                parameters={"id": order.order_id, "refund": item["refund_id"]},
                body=body or None,
                groups=("ops",),
            )
            self.world.tally[f"refund {what} answered {reply.status}"] += 1
        return bool(waiting)

    def _cancel(self, order: Any) -> None:
        system = self.world.system
        if order.external_id:
            system.control(order.channel, "POST", "/_sim/cancel", {"order_id": order.external_id})
            body = json.dumps({"channel": order.channel, "external_id": order.external_id})
            data = {"QueueUrl": system.cloud.queue_url("ChannelEventsQueue"), "MessageBody": body}
            system.cloud.execute("sqs", "SendMessage", data)
            return
        app = system._app(system.template.function_at("place_order/api"))
        system.request(
            "place_order/api",
            "POST /orders/{id}/cancel",
            parameters={"id": order.order_id},
            headers={"order-token": app.placing.token(order), "idempotency-key": f"desk-{order.order_id}"},
            body={"reason": "cannot be delivered"},
        )
