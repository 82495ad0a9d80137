"""Carrying out what people demand: when it comes, and by the schedule whatever is not done yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oms.customers.demands import SOON, KeepDemands
from oms.customers.erasure import EraseCustomers
from oms.customers.exporting import ExportPeople
from oms.customers.retention import RetainOrders
from oms.runtime import telemetry
from oms.runtime.clock import Clock, to_text
from oms.runtime.dynamo import Item

_RESERVE = 10.0
"""Seconds that one demand takes at most, but for those of very many orders: these go on with the next run."""


@dataclass(frozen=True, slots=True)
class ServePeople:
    """Demands and retention, each safe to repeat."""

    demands: KeepDemands
    erasing: EraseCustomers
    exporting: ExportPeople
    retaining: RetainOrders
    clock: Clock

    def carry_out(self, channel: str, event_id: str, time_left: Callable[[], float]) -> bool:
        """Do what a demand asks as far as it can be done now; whether nothing is left of it. A report, and the erasure
        of everybody on a channel, stay open until somebody of ours closes or confirms them."""
        demand = self.demands.get_open(channel, event_id)
        return demand is None or self._carry_out(demand, time_left)

    def run(self, time_left: Callable[[], float]) -> dict[str, int]:
        """Try every open demand and go on forgetting what is too old; how many demands are open still, and how many
        of those are close to their deadline or past it. One that cannot be carried out does not stop the others."""
        counts = {"open": 0, "overdue": 0}
        soon = to_text(self.clock() + SOON)
        for demand in list(self.demands.open_demands()):
            done = False
            try:
                done = time_left() > _RESERVE and self._carry_out(demand, time_left)
            except Exception:
                telemetry.logger.exception("person_demand_failed", channel=demand["channel"], kind=demand["kind"])
            counts["open"] += not done
            counts["overdue"] += not done and demand["deadline"] < soon
        if counts["overdue"]:
            telemetry.count("PersonDemandsOverdue", counts["overdue"])
        if time_left() > _RESERVE:
            self.retaining.run(time_left)
        return counts

    def _carry_out(self, demand: Item, time_left: Callable[[], float]) -> bool:
        if demand.get("not_before", "") > to_text(self.clock()):
            return False
        if demand["kind"] == "report":
            self.exporting.carry_out(demand)
            return False
        return self.erasing.carry_out(demand, time_left)
