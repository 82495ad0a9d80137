"""People at work on the deployed system: a shopper who pays, a floor that picks and packs, somebody who waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.client import Client, checkout
from local.reports import Stage

PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class People:
    """Everything over HTTP, as the world does it."""

    client: Client
    stage: Stage

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """Wait until there is something to see; what was seen. Raises ``TimedOut``."""
        seen: list[Any] = []

        def found() -> bool:
            seen[:] = [look()]
            return bool(seen[0])

        self.stage.wait(what, found, PATIENCE)
        return seen[0]

    def ask(self, staff: str, method: str, path: str, body: Any = None, *, key: bool = True) -> Any:
        """A member of staff's call that is answered with what was asked for."""
        sent = self.client.api(method, path, body, staff=staff, key=self.client.new_key() if key else None)
        return sent.expect(200, 201, 202, 204)

    def ask_as(self, placed: Mapping[str, Any], method: str, path: str, body: Any = None) -> Any:
        """The same by an order's customer, about the order."""
        url, key = f"/orders/{placed['order_id']}/{path}", self.client.new_key()
        return self.client.api(method, url, body, order_token=placed["order_token"], key=key).expect(200, 201)

    def paid(self, *lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
        """An order that its customer has paid or authorised, and that we know of."""
        placed: dict[str, Any] = self.client.place(checkout(*lines, **changes)).expect(201)
        self.client.pay(placed).expect(200)
        self.until("the order is confirmed", lambda: self.client.order(placed)["status"] != "placed")
        return placed

    def task(self, placed: Mapping[str, Any], kind: str, facility: str = "main") -> Any:
        """Wait for a task of an order."""
        order_id = placed["order_id"]

        def offered() -> Any:
            tasks = self.client.open_tasks(facility)
            return next((each for each in tasks if (each["order_id"], each["kind"]) == (order_id, kind)), None)

        return self.until(f"a {kind} is offered at {facility}", offered)

    def do(self, task: Mapping[str, Any]) -> None:
        """Scan what a task still asks for, and complete it."""
        for unit in task["units"]:
            if unit["remaining"]:
                scan = {"sku": unit["sku"], "quantity": unit["remaining"]}
                self.client.task(task["task_id"], "scans", scan).expect(200)
        self.client.task(task["task_id"], "complete").expect(200)

    def pick_and_pack(self, placed: Mapping[str, Any], facility: str = "main") -> None:
        """One parcel of an order, from the shelf to the door."""
        self.do(self.task(placed, "pick", facility))
        self.do(self.task(placed, "pack", facility))

    def work_off(self, placed: Mapping[str, Any], facility: str = "main") -> None:
        """Everything that is to be done for an order, until it is completed."""

        def completed() -> bool:
            for task in self.client.open_tasks(facility):
                if task["order_id"] == placed["order_id"]:
                    self.do(task)
            return bool(self.client.order(placed)["status"] == "completed")

        self.until("the order is completed", completed)

    def sent(self, *lines: tuple[str, int], **changes: Any) -> dict[str, Any]:
        """An order in one parcel that has left."""
        placed = self.paid(*lines, **changes)
        self.pick_and_pack(placed)
        self.until("the order is completed", lambda: self.client.order(placed)["status"] == "completed")
        return placed

    def events(self, placed: Mapping[str, Any]) -> list[str]:
        """The types of an order's events, their chain proven."""
        told = self.ask("agent", "GET", f"/orders/{placed['order_id']}/timeline")
        return [each["type"] for each in told["entries"] if each.get("type")]
