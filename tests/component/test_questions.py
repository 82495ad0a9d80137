"""Questions to customers, what customers write, and how the two hang together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oms.runtime.dynamo import Table
from tests.component.test_messages import Mailbox, notify
from tests.component.test_worklist import work
from tests.support.shop import STAFF_CLAIMS, Answer, Shop, checkout

SAM = {"cognito:groups": "[agent]", "cognito:username": "sam"}


@pytest.fixture
def order(shop: Shop) -> Answer:
    shop.stock_up()
    return shop.place(checkout(("SHIRT", 1)))


@pytest.fixture
def mailbox(shop: Shop) -> Mailbox:
    found = Mailbox()
    object.__setattr__(shop.app.telling, "notifier", lambda: found)
    return found


def note(shop: Shop, order: Answer, key: str = "note-0001", **body: Any) -> Answer:
    path, headers = {"id": order.body["order_id"]}, {"idempotency-key": key}
    return shop.call("customer_service.api", "POST /orders/{id}/notes", body, path=path, headers=headers, staff=SAM)


def ask(shop: Shop, order: Answer, text: str = "Is the gate locked?", key: str = "ask-00001", **more: Any) -> Any:
    answer = note(shop, order, key, text=text, question=True, **more)
    assert answer.status == 201, answer
    return answer.body


def write(shop: Shop, order: Answer, text: Any = "It is open.", key: str = "write-0001", **more: Any) -> Answer:
    headers = {"order-token": more.pop("token", order.body["order_token"]), "idempotency-key": key}
    path = {"id": order.body["order_id"]}
    route = "POST /orders/{id}/messages"
    return shop.call("customer_service.aftersales", route, {"text": text, **more}, path=path, headers=headers)


def thread(shop: Shop, order: Answer) -> list[Any]:
    path = {"id": order.body["order_id"]}
    answer = shop.call("customer_service.api", "GET /orders/{id}/notes", path=path, staff=STAFF_CLAIMS)
    return list(answer.body["notes"])


def waiting(shop: Shop) -> list[tuple[str, str]]:
    return [(each["about"], each["owner"]) for each in work(shop) if each["kind"] == "question"]


def test_a_question_goes_by_mail_and_its_answer_hangs_on_it(shop: Shop, order: Answer, mailbox: Mailbox) -> None:
    asked = ask(shop, order)
    assert notify(shop, order, int(asked["note_id"]))
    assert notify(shop, order, int(asked["note_id"]))
    (mail,) = mailbox.mails
    assert mail.subject.startswith("A question about your order")
    assert "Is the gate locked?" in mail.text
    assert "Is the gate locked?" in mail.html
    assert waiting(shop) == [(asked["note_id"], "sam")]
    told = write(shop, order)
    assert (told.status, told.body["in_reply_to"]) == (201, asked["note_id"])
    question, answer = thread(shop, order)
    assert (question["answered_by"], question["deadline"]) == (answer["note_id"], None)
    assert (answer["author"], answer["by_customer"], answer["in_reply_to"]) == ("customer", True, question["note_id"])
    # Now it is for whoever asked to read the answer.
    assert waiting(shop) == [(answer["note_id"], "sam")]
    reply = note(shop, order, text="Told the carrier.", in_reply_to=answer["note_id"])
    assert reply.status == 201
    assert waiting(shop) == []
    assert [each["answered_by"] for each in thread(shop, order)] == [answer["note_id"], reply.body["note_id"], None]


def test_a_question_that_nobody_answers_is_overdue_work(shop: Shop, order: Answer) -> None:
    ask(shop, order, hours=2)
    shop.later(hours=3)
    (entry,) = [each for each in work(shop) if each["kind"] == "question"]
    assert (entry["overdue"], entry["age_hours"], entry["owner"]) == (True, 3, "sam")
    assert entry["next"]["path"] == f"/orders/{order.body['order_id']}/notes"


def test_what_a_customer_writes_unasked_waits_for_customer_service(shop: Shop, order: Answer) -> None:
    written = write(shop, order, "Please ring twice.").body
    assert waiting(shop) == [(written["note_id"], "customer service")]
    path = {"id": order.body["order_id"]}
    told = shop.call("customer_service.api", "GET /orders/{id}/outlook", path=path, staff=STAFF_CLAIMS).body
    assert ("answer", "customer service") in [(wait["on"], wait["owner"]) for wait in told["waits"]]


def test_a_message_sent_twice_is_kept_once(shop: Shop, order: Answer) -> None:
    first, again = write(shop, order), write(shop, order)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert len(thread(shop, order)) == 1
    assert write(shop, order, "Something else.").body["code"] == "idempotency_key_reused"


def test_only_the_order_s_own_token_lets_one_write(shop: Shop, order: Answer) -> None:
    other = shop.place(checkout(("SHIRT", 1)), key="another-order")
    for token in ("", "made.up", other.body["order_token"]):
        assert write(shop, order, token=token).status == 404
    assert thread(shop, order) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": ""}, "invalid_request"),
        ({"text": "x" * 2001}, "invalid_request"),
        ({"text": "my card is 4242 4242 4242 4242"}, "card_data_refused"),
        ({"text": "hello", "in_reply_to": "000099"}, "invalid_request"),
        ({"text": "hello", "in_reply_to": "everything"}, "invalid_request"),
        ({"text": "hello", "author": "staff:sam"}, "invalid_request"),
    ],
)
def test_bad_messages_are_refused_and_keep_nothing(shop: Shop, order: Answer, body: Any, code: str) -> None:
    refused = write(shop, order, **body)
    assert (refused.status, refused.body["code"]) == (422, code), refused
    assert thread(shop, order) == []


def test_a_customer_cannot_answer_what_we_wrote_among_ourselves(shop: Shop, order: Answer) -> None:
    kept = note(shop, order, text="seems difficult").body
    refused = write(shop, order, in_reply_to=kept["note_id"])
    assert refused.status == 422
    assert "difficult" not in json.dumps(refused.body)


def test_a_customer_writes_so_much_a_day_and_so_much_in_all(shop: Shop, order: Answer) -> None:
    def flood(count: int, first: int = 0) -> list[int]:
        return [write(shop, order, key=f"write-{first + number:04d}").status for number in range(count)]

    assert flood(9) == [201] * 8 + [409]
    shop.later(days=1, minutes=1)
    assert flood(9, 100) == [201] * 8 + [409]
    shop.later(days=1, minutes=1)
    assert flood(9, 200) == [201] * 8 + [409]
    shop.later(days=1, minutes=1)
    assert flood(3, 300) == [201, 409, 409]
    assert note(shop, order, text="there is room left for us").status == 201


def test_two_messages_at_once_do_not_pass_the_limit_together(
    shop: Shop, order: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oms.orders.notes.MOST_A_DAY", 1)
    transact = Table.transact
    came_between: list[int] = []

    def interleaved(self: Table, writes: Any, **more: Any) -> None:
        if not came_between and any(write.label == "note" for write in writes):
            came_between.append(0)
            came_between.append(write(shop, order, key="write-other").status)
        transact(self, writes, **more)

    monkeypatch.setattr(Table, "transact", interleaved)
    assert write(shop, order).body["code"] == "too_many_messages"
    assert came_between[1] == 201
    assert len(thread(shop, order)) == 1


def test_who_has_no_address_cannot_be_asked(shop: Shop, order: Answer) -> None:
    shop.cancel(order)
    shop.settle(order)
    shop.news()
    assert shop.app.erasing.forget(order.body["order_id"], "demand web#demand-1") == ""
    assert note(shop, order, text="Are you there?", question=True).body["code"] == "person_erased"


def test_a_question_by_the_customer_to_themselves_is_refused(shop: Shop, order: Answer) -> None:
    assert note(shop, order, text="why?", question=True, by_customer=True).status == 422


def test_a_forgotten_person_s_words_leave_the_thread_and_the_work_list(shop: Shop, order: Answer) -> None:
    ask(shop, order)
    shop.cancel(order)
    shop.settle(order)
    shop.news()
    assert shop.app.erasing.forget(order.body["order_id"], "demand web#demand-1") == ""
    assert waiting(shop) == []
    assert [each["text"] for each in thread(shop, order)] == [None]
