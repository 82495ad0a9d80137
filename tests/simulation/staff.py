"""The people of the house: pickers and packers at the floor, and the desk that decides about orders that were stopped.

Both are pumps: they have something to do whenever the record shows an open task or a held order, and the seed decides
when they do it, how well, and whether they do it at all.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from oms.fulfillment.carrier import Address
from oms.orders.store import order_from_item
from tests.simulation.checkers import Key, Violation
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
            and (self.world.healed or self._ignored.get(key) != books.items["OrdersTable"][key]["task"]["token"])
        )

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


class Desk(_People):
    """Customer service, finance and purchasing: whoever owns a hold."""

    name = "desk"
    PATIENCE = 3

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._tries: Counter[str] = Counter()

    def _held(self) -> list[str]:
        books = self.world.inspector.books
        return sorted(pk for pk in books.held if pk not in self._busy and self._tries[pk] < 2 * self.PATIENCE)

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
