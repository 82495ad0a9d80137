"""Every checker sees what it is there to see: planted corruption, one kind at a time."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.simulators.ses import Letter
from local.simulators.subscriber import Heard
from oms.customers.people import person_key
from oms.runtime.dynamo import from_item, to_item
from tests.simulation.checkers import LIVENESS, SAFETY, Violation
from tests.simulation.faults import Plane
from tests.simulation.pairs import PAIRS, Scene, callback, dispute_news, step, sync
from tests.simulation.system import System

Tamper = Callable[[Scene], object]
PLANTED: dict[str, Tamper] = {}


def plants(tamper: Tamper) -> Tamper:
    """Register a corruption under the name of the checker that must see it."""
    PLANTED[tamper.__name__] = tamper
    return tamper


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A shop with a packed parcel of its own and a marketplace's sale, in which every promise holds."""
    system = System("planted", Plane(random.Random(0)), pumps=False)
    with system.running():
        found = Scene(system)
        found.stock(5, channel="etsy")
        found.packed()
        found.do(sync("EtsyQueue"))
        found.sold_on("etsy")
        found.do(callback("etsy"))
        found.inspector.look()
        yield found


def _image(scene: Scene, table: str, pk: str, sk: str) -> dict[str, Any]:
    """An item as Python values; what is written of it emits a stream record like any other write."""
    item = scene.system.cloud.item(table, pk, sk)
    assert item is not None
    return from_item({name: _bytes(value) for name, value in item.items()})


def _bytes(value: dict[str, Any]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if "B" in value else value


def _put(scene: Scene, table: str, item: dict[str, Any]) -> None:
    image = to_item(item)
    for value in image.values():
        if "B" in value:
            value["B"] = base64.b64encode(value["B"]).decode()
    status, _, body = scene.system.cloud.execute("dynamodb", "PutItem", {"TableName": table, "Item": image})
    assert status == 200, body


def _change(scene: Scene, table: str, pk: str, sk: str, **changes: Any) -> None:
    _put(scene, table, {**_image(scene, table, pk, sk), **changes})


def _order(scene: Scene, **changes: Any) -> None:
    _change(scene, "OrdersTable", f"ORDER#{scene.order_id}", "ORDER", **changes)


def _shipment(scene: Scene, **changes: Any) -> None:
    _change(scene, "OrdersTable", f"ORDER#{scene.order_id}", "SHIPMENT#001", **changes)


def _delete(scene: Scene, table: str, pk: str, sk: str) -> None:
    key = {"pk": {"S": pk}, "sk": {"S": sk}}
    scene.system.cloud.execute("dynamodb", "DeleteItem", {"TableName": table, "Key": key})


def _sku(scene: Scene, sk: str, **changes: Any) -> None:
    _change(scene, "InventoryTable", "SKU#A", sk, **changes)


def _version(scene: Scene) -> int:
    return int(scene.order().version)


# ---- after every step ----------------------------------------------------------------------------------------------


@plants
def stock_identity(scene: Scene) -> None:
    _sku(scene, "STOCK#0", available=4)


@plants
def nothing_negative(scene: Scene) -> None:
    _sku(scene, "LOCATION#main", unallocated=1)


@plants
def lots_are_what_lies_in_bins(scene: Scene) -> None:
    _sku(scene, "LOCATION#main", **{"lot#A1#2027-06-30#L-1": 9})


@plants
def own_sales_never_oversold(scene: Scene) -> None:
    _sku(scene, "STOCK#0", available=4)
    _order(scene, oversold={"A": 1}, version=_version(scene) + 1)


@plants
def movements_have_causes(scene: Scene) -> None:
    _sku(scene, "LOCATION#main", on_hand=6, unallocated=5)
    _sku(scene, "STOCK#0", available=4)


@plants
def queues_are_the_orders_that_wait(scene: Scene) -> None:
    waiting = {"entity": "backorder", "sku": "A", "order_id": scene.order_id, "units": 1}
    _put(scene, "InventoryTable", {"pk": "SKU#A", "sk": f"BACKORDER#9999#now#{scene.order_id}", **waiting})
    _queue(scene, waiting=1, earmarked=0)


def _queue(scene: Scene, **counts: int) -> None:
    head = {"pk": "SKU#A", "sk": "BACKORDERS", "entity": "backorders", "sku": "A", "version": 1, "filled": 0}
    _put(scene, "InventoryTable", {**head, **counts})


def _moved(scene: Scene, **told: Any) -> None:
    """A movement of the journal."""
    at = "2027-01-15T09:00:00.000Z"
    item = {"pk": "SKU#A", "sk": f"MOVEMENT#{at}#planted", "entity": "movement", "movement_id": "planted", "sku": "A"}
    item |= {"facility": "main", "bin": "A1", "reason": "routine", "cause": "operator", "actor": "kim", "at": at}
    _put(scene, "InventoryTable", {**item, "change": 0, "on_hand": 0, **told})


@plants
def arrivals_serve_the_queue_first(scene: Scene) -> None:
    _queue(scene, waiting=2, earmarked=1)
    _moved(scene, type="receive", quantity=1, change=1, on_hand=1)
    _sku(scene, "STOCK#0", available=4)


@plants
def counts_leave_what_was_counted(scene: Scene) -> None:
    _moved(scene, type="count", quantity=99)


@plants
def transit_is_accounted_for(scene: Scene) -> None:
    transfer = {"entity": "transfer", "transfer_id": "t1", "sku": "A", "quantity": 1, "state": "in_transit"}
    _moved(scene, type="transfer_out", quantity=1, on_hand=-1, cause="transfer:t1")
    _put(scene, "InventoryTable", {"pk": "TRANSFER#t1", "sk": "TRANSFER", **transfer})


@plants
def nobody_waits_beside_stock(scene: Scene) -> None:
    _queue(scene, waiting=0, earmarked=1)


def _claimed(scene: Scene, **changes: Any) -> None:
    """A claim of the order's confirmation, which the payment's event calls for."""
    mail = {"entity": "mail", "kind": "confirmed", "about": "order", "event": 2, "status": "sending"}
    _put(scene, "OrdersTable", {"pk": f"ORDER#{scene.order_id}", "sk": "MAIL#confirmed#order#0", **mail, **changes})


def _log(scene: Scene, *numbers: int, last: int) -> None:
    """A subscription's log with these entries."""
    pk = "WEBHOOK#erp"
    _put(scene, "OrdersTable", {"pk": pk, "sk": "HEAD", "entity": "webhook_head", "last": last})
    for seq in numbers:
        entry = {"pk": pk, "sk": f"LOG#{seq:012d}", "entity": "webhook_entry", "seq": seq, "order_id": "o", "n": seq}
        _put(scene, "OrdersTable", entry)


@plants
def logs_have_no_gaps(scene: Scene) -> None:
    _log(scene, 1, 3, last=3)


@plants
def subscribers_hear_in_turn(scene: Scene) -> None:
    _log(scene, 1, 2, last=2)
    scene.system.subscriber.heard.append(Heard({}, b"", {"sequence": 2}))


@plants
def subscribers_heard_everything(scene: Scene) -> None:
    _log(scene, 1, last=1)


@plants
def each_mail_once(scene: Scene) -> None:
    _claimed(scene)
    tags = {"order": scene.order_id, "mail": "confirmed-order-0"}
    letter = Letter("0001", 0.0, "orders@shop.test", "ada@example.com", "Confirmed", "", "", tags)
    scene.system.cloud.ses.letters += [letter, letter]


@plants
def mails_tell_what_is_committed(scene: Scene) -> None:
    _claimed(scene, event=99)


@plants
def customers_were_told(scene: Scene) -> None:
    _claimed(scene)


@plants
def profiles_are_what_orders_say(scene: Scene) -> None:
    customer_id = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "ORDER")["customer_id"]
    pk, sk = person_key(customer_id)
    identities = {customer_id: {"figures": {"orders": 2}}}
    _put(scene, "OrdersTable", {"pk": pk, "sk": sk, "entity": "person", "identities": identities, "version": 1})


@plants
def legal_transitions(scene: Scene) -> None:
    _order(scene, status="placed", version=_version(scene) + 1)


@plants
def gapless_history(scene: Scene) -> None:
    _change(scene, "OrdersTable", f"ORDER#{scene.order_id}", "EVENT#000002", actor="nobody")


@plants
def written_once(scene: Scene) -> None:
    _delete(scene, "OrdersTable", f"ORDER#{scene.order_id}", f"MONEY#captured#{scene.order().payment.intent}")


@plants
def one_effect_per_event(scene: Scene) -> None:
    event = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "EVENT#000002")
    _put(scene, "OrdersTable", {**event, "sk": "EVENT#000099"})


@plants
def one_order_per_sale(scene: Scene) -> None:
    pk = next(pk for pk, item in scene.inspector.books.orders() if item.get("external_id"))
    _put(scene, "OrdersTable", {**_image(scene, "OrdersTable", pk, "ORDER"), "pk": "ORDER#copy"})


@plants
def open_orders_have_deadlines(scene: Scene) -> None:
    item = {**_image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "ORDER"), "version": _version(scene) + 1}
    _put(
        scene,
        "OrdersTable",
        {name: value for name, value in item.items() if name not in {"next_deadline", "due_shard"}},
    )


@plants
def books_balance(scene: Scene) -> None:
    key = f"MONEY#captured#{scene.order().payment.intent}"
    entry = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", key)
    postings = {**entry["postings"], "customer": 1 - entry["amount"]}
    _put(scene, "OrdersTable", {**entry, "postings": postings})


@plants
def ledger_sums(scene: Scene) -> None:
    _order(scene, payment={**_image_payment(scene), "captured": 1}, version=_version(scene) + 1)


@plants
def ledger_never_ahead_of_stripe(scene: Scene) -> None:
    scene.system.stripe.account.all("payment_intent")[0]["amount_received"] = 1
    _order(scene, note="touched", version=_version(scene) + 1)


@plants
def paid_before_confirmed(scene: Scene) -> None:
    lines = [{"sku": "A", "qty": 1, "price": 1_000_000, "shipped": 1}]
    _order(scene, lines=lines, version=_version(scene) + 1)


@plants
def legal_parcel_moves(scene: Scene) -> None:
    _shipment(scene, status="picking")


@plants
def one_parcel_per_unit(scene: Scene) -> None:
    parcel = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "SHIPMENT#001")
    _put(scene, "OrdersTable", {**parcel, "sk": "SHIPMENT#002", "shipment_id": f"{scene.order_id}.2"})


@plants
def dead_orders_have_no_parcels(scene: Scene) -> None:
    _order(scene, status="cancelled", version=_version(scene) + 1)


@plants
def returns_never_exceed_what_left(scene: Scene) -> None:
    (line,) = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "ORDER")["lines"]
    _order(scene, lines=[{**line, "returned": 1}])


@plants
def never_more_back_than_captured(scene: Scene) -> None:
    payment = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "ORDER")["payment"]
    _order(scene, payment={**payment, "refund_due": payment["captured"] + 1})


@plants
def allocated_units_are_in_parcels(scene: Scene) -> None:
    _sku(scene, "LOCATION#main", allocated=2, unallocated=3)


@plants
def one_label_per_parcel(scene: Scene) -> None:
    _shipment(scene, status="shipped")


@plants
def done_tasks_saw_everything(scene: Scene) -> None:
    _shipment(scene, packed={})


def _walk(scene: Scene, **changes: Any) -> None:
    """A walk of the scene's parcel, as if it had been released."""
    item = {
        "pk": "WALK#main.w-1",
        "sk": "WALK",
        "entity": "walk",
        "walk_id": "main.w-1",
        "facility": "main",
        "method": "batch",
        "state": "open",
        "shipments": [f"{scene.order_id}.1"],
        "stops": [{"bin": "A-01", "sku": "A", "need": {"0": 1}, "got": {}}],
        "released": 1,
        "rank": "0",
        "released_at": "2027-01-15T08:00:00.000Z",
        "lease_minutes": 15,
        "version": 1,
    }
    _put(scene, "OrdersTable", {**item, **changes})


@plants
def a_parcel_is_on_one_walk(scene: Scene) -> None:
    _shipment(scene, walks=["main.w-1", "main.w-2"])


@plants
def a_unit_is_picked_once(scene: Scene) -> None:
    _walk(scene, stops=[{"bin": "A-01", "sku": "A", "need": {"0": 1}, "got": {"0": 2}}])


@plants
def leases_are_never_shared(scene: Scene) -> None:
    _walk(scene, picker="staff:kim", lease_until="2027-01-15T08:20:00.000Z")
    _walk(scene, picker="staff:lee", lease_until="2027-01-15T08:25:00.000Z")


@plants
def work_in_process_is_counted(scene: Scene) -> None:
    _walk(scene)


@plants
def coupons_are_what_live_orders_carry(scene: Scene) -> None:
    _order(scene, coupons=[["SIM", 100, 0, 0, []]], version=_version(scene) + 1)


@plants
def held_orders_do_not_leave(scene: Scene) -> None:
    hold = {
        "reason": "odd",
        "owner": "risk",
        "since": "2027-01-15T08:00:00.000Z",
        "deadline": "2027-01-16T08:00:00.000Z",
    }
    _order(scene, holds={"fraud": hold}, version=_version(scene) + 1)
    _shipment(scene, status="shipped")


@plants
def channels_never_go_back(scene: Scene) -> None:
    _sku(scene, "SYNC#etsy", acknowledged_version=0)


@plants
def no_defects(scene: Scene) -> None:
    scene.system.note_error("somewhere", KeyError("nothing"))
    _sku(scene, "PRODUCT", title="touched")


def _image_payment(scene: Scene) -> dict[str, Any]:
    return dict(_image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "ORDER")["payment"])


# ---- at rest -------------------------------------------------------------------------------------------------------


@plants
def every_order_ends(scene: Scene) -> None:
    """The scene itself is not at rest: its parcel has not left."""


@plants
def no_work_left(scene: Scene) -> None:
    _order(scene, effects=["refund"])


@plants
def queues_are_empty(scene: Scene) -> None:
    data = {"QueueUrl": scene.system.cloud.queue_url("EtsyDeadLetters"), "MessageBody": "{}"}
    scene.system.cloud.execute("sqs", "SendMessage", data)


@plants
def money_agrees_with_stripe(scene: Scene) -> None:
    scene.system.stripe.account.all("payment_intent")[0]["amount_received"] += 1


def _disputed(scene: Scene) -> str:
    """The scene's payment is disputed and we know it; the dispute's key."""
    scene.disputed().do(dispute_news("created"))
    scene.inspector.look()
    return f"DISPUTE#{scene.system.stripe.account.all('dispute')[0]['id']}"


@plants
def decisions_stand(scene: Scene) -> None:
    pk, sk = f"ORDER#{scene.order_id}", _disputed(scene)
    _change(scene, "OrdersTable", pk, sk, status="won")
    scene.inspector.look()
    _change(scene, "OrdersTable", pk, sk, status="under_review")


@plants
def disputes_agree_with_stripe(scene: Scene) -> None:
    _disputed(scene)
    scene.system.stripe.account.all("dispute")[0]["status"] = "lost"


@plants
def tenders_are_booked_once(scene: Scene) -> None:
    scene.system.tenders[scene.order_id, "till-1"] = 500


@plants
def dead_orders_cannot_be_paid(scene: Scene) -> None:
    _order(scene, status="cancelled")
    scene.system.stripe.account.all("payment_intent")[0]["status"] = "requires_payment_method"


@plants
def channels_show_the_record(scene: Scene) -> None:
    _sku(scene, "STOCK#0", available=1)


@plants
def every_marketplace_sale_is_here(scene: Scene) -> None:
    scene.sold_on("etsy")
    scene.system.sold["etsy"].append(scene.external)


@plants
def walks_end(scene: Scene) -> None:
    _walk(scene)


@plants
def every_label_is_used(scene: Scene) -> None:
    scene.do(step("ship", shipment=True))
    _shipment(scene, status="cancelled")


@plants
def marketplaces_know_their_parcels(scene: Scene) -> None:
    pk = next(pk for pk, item in scene.inspector.books.orders() if item.get("external_id"))
    parcel = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "SHIPMENT#001")
    label = {
        "carrier": "USPS",
        "service": "x",
        "tracking_number": "9",
        "tracker_id": "",
        "label_url": "u",
        "amount": 1,
        "currency": "USD",
    }
    _put(scene, "OrdersTable", {**parcel, "pk": pk, "status": "shipped", "label": label, "shipment_id": f"{pk[6:]}.1"})


def _seen(scene: Scene, status: str, at: str) -> None:
    _shipment(scene, tracking={"status": status, "at": at, "detail": "", "heard_at": at})


@plants
def tracking_never_goes_back(scene: Scene) -> None:
    scene.do(step("ship", shipment=True))
    _seen(scene, "in_transit", "2027-01-15T08:00:00.000Z")
    scene.inspector.look()
    _seen(scene, "label_created", "2027-01-15T09:00:00.000Z")


@plants
def one_label_for_each_parcel(scene: Scene) -> None:
    scene.do(step("ship", shipment=True))
    label = _image(scene, "OrdersTable", f"ORDER#{scene.order_id}", "SHIPMENT#001")["label"]
    _shipment(scene, label={**label, "tracker_id": "trk_of_another"})


@plants
def workflows_end(scene: Scene) -> None:
    data = {
        "stateMachineArn": "arn:aws:states:x:y:stateMachine:m",
        "name": scene.order_id,
        "input": '{"order_id": "x"}',
    }
    scene.system.workflows("StartExecution", data)
    execution = scene.system.workflows.executions[scene.order_id]
    execution.states.append("Pick")
    _order(scene, status="cancelled")


@pytest.mark.parametrize("name", sorted(SAFETY))
def test_a_broken_promise_is_seen_at_the_step_that_breaks_it(scene: Scene, name: str) -> None:
    books = scene.inspector.books
    PLANTED[name](scene)
    changes = books.advance()
    with pytest.raises(Violation, match=name):
        SAFETY[name](books, changes)


@pytest.mark.parametrize("name", sorted(LIVENESS))
def test_what_never_comes_to_its_end_is_seen_at_rest(scene: Scene, name: str) -> None:
    PLANTED[name](scene)
    scene.inspector.books.reread()
    with pytest.raises(Violation, match=name):
        LIVENESS[name](scene.inspector.books)


def test_the_untouched_scene_breaks_no_promise(scene: Scene) -> None:
    scene.inspector.look_at_everything()


def test_every_checker_has_its_corruption_and_every_pair_a_name_of_its_own() -> None:
    assert PLANTED.keys() == SAFETY.keys() | LIVENESS.keys()
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
