"""The local EasyPost: shipments, rates, one label each, returns, customs, refunds, scan forms, trackers; shaped like
recorded answers (scan forms, which nobody recorded, like the documented ones).

``/v2/…`` is what EasyPost publishes; ``/_sim/…`` plays the carriers and bad luck:

- ``POST config`` ``{"callback_url"?, "webhook_secret"?}``.
- ``POST faults`` as for the local Stripe; a fault ``{"label_late": true}`` sells the label and does not show it yet.
- ``POST bad-post`` ``{"drop"?, "duplicate"?, "hold"?}``: so many webhooks are lost, sent twice, or kept back until
  ``POST release`` sends them, the latest first.
- ``POST track`` ``{"tracker"|"tracking_code"|"shipment", "status", "status_detail"?}``: the carrier scans the parcel.
- ``GET labels?reference=``: every label bought; ``GET deliveries``: webhooks sent, with every attempt.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from local.simulators.core import Clock, Deliver, Delivery, Request, Response

Json = dict[str, Any]

GIVE_UP_AFTER = 12
SERVICES = (("Express", 3415, 1), ("Priority", 742, 2), ("GroundAdvantage", 607, 3))
"""Name, price in cents for the first pound, and days; every further pound adds a fifth."""

HEAVIEST_OUNCES = 1120
MAGIC = {
    "EZ1000000001": "pre_transit",
    "EZ2000000002": "in_transit",
    "EZ3000000003": "out_for_delivery",
    "EZ4000000004": "delivered",
    "EZ5000000005": "return_to_sender",
    "EZ6000000006": "failure",
    "EZ7000000007": "unknown",
}
STATUSES = {*MAGIC.values(), "available_for_pickup", "cancelled", "error"}
FINAL = {"delivered", "return_to_sender", "failure", "cancelled", "error"}


class Refusal(Exception):
    """An error answer in EasyPost's shape."""

    def __init__(self, status: int, code: str, message: str, *errors: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, "errors": list(errors)}}


def sign(secret: str, body: bytes) -> str:
    """The ``X-Hmac-Signature`` header; the secret is normalised before it becomes the key."""
    key = unicodedata.normalize("NFKD", secret).encode()
    return f"hmac-sha256-hex={hmac.new(key, body, hashlib.sha256).hexdigest()}"


class EasyPostCore:
    """Answers requests; events go to ``deliver`` once the request that caused them is done."""

    def __init__(
        self,
        clock: Clock,
        deliver: Deliver,
        *,
        callback_url: str = "",
        webhook_secret: str = "",
        seed: str = "0",
    ) -> None:
        self._clock = clock
        self._deliver = deliver
        self._callback_url = callback_url
        self._webhook_secret = webhook_secret
        self._seed = seed
        self._counters: dict[str, int] = {}
        self._addresses: dict[str, Json] = {}
        self._shipments: dict[str, Json] = {}
        self._trackers: dict[str, Json] = {}
        self._labels: list[Json] = []
        self._events: dict[str, Json] = {}
        self._attempts: dict[str, list[Json]] = {}
        self._unsent: list[Json] = []
        self._down = False
        self._faults: list[Json] = []
        self._scan_forms: dict[str, Json] = {}
        self._bad_post = {"drop": 0, "duplicate": 0, "hold": 0}
        self._kept: list[Delivery] = []

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        fault = None if request.path.startswith("/_sim/") else self._take_fault(request)
        response = self._answer(request, fault if fault and fault.keys() & {"status", "label_late"} else None)
        if fault and "latency_ms" in fault:
            response = replace(response, headers={**response.headers, "x-sim-latency-ms": str(fault["latency_ms"])})
        unsent, self._unsent = self._unsent, []
        for event in unsent:
            self._send(event)
        return response

    def delivered(self, delivery: Delivery, status: int) -> Delivery | None:
        """The host tells how an attempt went (0: no answer) and learns what to try next, if anything."""
        event_id = str(json.loads(delivery.body)["id"])
        attempts = self._attempts.setdefault(event_id, [])
        attempts.append({"at": int(self._clock()), "status": status})
        if 200 <= status < 300:
            self._events[event_id]["status"] = "completed"
            return None
        return delivery if len(attempts) < GIVE_UP_AFTER else None

    def _answer(self, request: Request, fault: Json | None) -> Response:
        if fault and "status" in fault and not fault.get("after_effect"):
            return _failure(fault)
        try:
            body = request.json() if request.body else {}
            if not isinstance(body, dict):
                raise Refusal(400, "BAD_REQUEST", "The request could not be understood.")
            if not request.path.startswith("/_sim/"):
                self._admit(request)
            status, answer = self._route(request, body)
        except Refusal as refusal:
            return Response.of(refusal.status, refusal.body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Response.of(422, {"error": {"code": "INVALID_PARAMETER", "message": repr(error), "errors": []}})
        if fault and fault.get("label_late"):
            return Response.of(status, {**answer, "postage_label": None})
        return _failure(fault) if fault else Response.of(status, answer)

    def _admit(self, request: Request) -> None:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            credentials = base64.b64decode(credentials).decode().partition(":")[0]
        if not credentials:
            raise Refusal(401, "APIKEY.INACTIVE", "This api key is no longer active.")

    def _route(self, request: Request, body: Json) -> tuple[int, Any]:
        routes: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
            ("POST", "/v2/addresses", self._create_address),
            ("GET", "/v2/addresses/([^/]+)/verify", self._verify_address),
            ("POST", "/v2/shipments", self._create_shipment),
            ("GET", "/v2/shipments/([^/]+)", lambda _, key: (200, self._shipment(key))),
            ("POST", "/v2/shipments/([^/]+)/rerate", self._rerate),
            ("POST", "/v2/shipments/([^/]+)/buy", self._buy),
            ("POST", "/v2/shipments/([^/]+)/refund", self._refund),
            ("POST", "/v2/trackers", self._create_tracker),
            ("GET", "/v2/trackers/([^/]+)", lambda _, key: (200, _found(self._trackers, key))),
            ("POST", "/v2/scan_forms", self._create_scan_form),
            ("GET", "/v2/scan_forms/([^/]+)", lambda _, key: (200, _found(self._scan_forms, key))),
            ("POST", "/v2/webhooks", self._create_webhook),
            ("POST", "/_sim/config", self._configure),
            ("POST", "/_sim/faults", self._set_faults),
            ("POST", "/_sim/bad-post", self._set_bad_post),
            ("POST", "/_sim/release", self._release_post),
            ("POST", "/_sim/track", self._track),
            ("GET", "/_sim/labels", lambda _: (200, self._labels_of(request.first("reference")))),
            ("GET", "/_sim/deliveries", lambda _: (200, self._deliveries())),
        ]
        for method, pattern, answer in routes:
            matched = re.fullmatch(pattern, request.path)
            if matched and method == request.method:
                return answer(body, *matched.groups())
        raise Refusal(404, "NOT_FOUND", "The requested resource could not be found.")

    # ---- addresses, shipments and labels

    def _create_address(self, body: Json) -> tuple[int, Any]:
        address = self._address(body.get("address") or {})
        self._addresses[address["id"]] = address
        return 201, address

    def _verify_address(self, _: Json, address_id: str) -> tuple[int, Any]:
        address = _found(self._addresses, address_id)
        if problems := _problems(address):
            raise Refusal(422, "ADDRESS.VERIFY.FAILURE", "Unable to verify address.", *problems)
        return 200, {"address": address | {"verifications": _verified()}}

    def _create_shipment(self, body: Json) -> tuple[int, Any]:
        asked = body.get("shipment")
        if not asked:
            raise Refusal(
                422, "PARAMETER.REQUIRED", "Missing required parameter.",
                {"field": "shipment", "message": "cannot be blank"},
            )  # fmt: skip
        now = self._now()
        sender, recipient = self._address(asked["from_address"]), self._address(asked["to_address"])
        returned = bool(asked.get("is_return", False))
        parcel = {
            "id": self._new_id("prcl"),
            "object": "Parcel",
            "created_at": now,
            "updated_at": now,
            **{side: _number(asked["parcel"].get(side)) for side in ("length", "width", "height")},
            "predefined_package": asked["parcel"].get("predefined_package"),
            "weight": _number(asked["parcel"]["weight"]),
            "mode": "test",
        }
        shipment_id = self._new_id("shp")
        shipment = {
            "id": shipment_id,
            "created_at": now,
            "is_return": returned,
            "messages": [],
            "mode": "test",
            "options": {"currency": "USD", "payment": {"type": "SENDER"}, "date_advance": 0} | asked.get("options", {}),
            "reference": asked.get("reference"),
            "status": "unknown",
            "tracking_code": None,
            "updated_at": now,
            "batch_id": None,
            "batch_status": None,
            "batch_message": None,
            "customs_info": self._customs(asked["customs_info"]) if asked.get("customs_info") else None,
            "from_address": recipient if returned else sender,
            "insurance": None,
            "order_id": None,
            "parcel": parcel,
            "postage_label": None,
            "rates": [],
            "refund_status": None,
            "scan_form": None,
            "selected_rate": None,
            "tracker": None,
            "to_address": sender if returned else recipient,
            "usps_zone": 4,
            "return_address": sender,
            "buyer_address": recipient,
            "forms": [],
            "fees": [],
            "object": "Shipment",
        }
        self._rate(shipment)
        self._shipments[shipment_id] = shipment
        return 201, shipment

    def _rerate(self, _: Json, shipment_id: str) -> tuple[int, Any]:
        shipment = self._shipment(shipment_id)
        if shipment["postage_label"] is None:
            self._rate(shipment)
        return 200, {"rates": shipment["rates"]}

    def _buy(self, body: Json, shipment_id: str) -> tuple[int, Any]:
        shipment = self._shipment(shipment_id)
        if shipment["postage_label"]:
            raise Refusal(422, "SHIPMENT.POSTAGE.EXISTS", "Postage already exists for this shipment.")
        wanted = (body.get("rate") or {}).get("id")
        rate = next((rate for rate in shipment["rates"] if rate["id"] == wanted), None)
        if rate is None:
            raise Refusal(422, "SHIPMENT.INVALID_PARAMS", "This shipment has no such rate.")
        now = self._now()
        number = self._count("tracking")
        code = f"94001{self._seed[-6:]:0>6}{number:011d}"
        extension = str(shipment["options"].get("label_format", "PNG")).lower()
        tracker = self._tracker(code, rate["carrier"], "unknown", shipment_id)
        # The carrier has looked at the address by now.
        shipment["to_address"]["verifications"] = _verified()
        shipment |= {
            "updated_at": now,
            "tracking_code": code,
            "tracker": tracker,
            "selected_rate": rate,
            "postage_label": {
                "object": "PostageLabel",
                "id": self._new_id("pl"),
                "created_at": now,
                "updated_at": now,
                "date_advance": 0,
                "integrated_form": "none",
                "label_date": now,
                "label_resolution": 300,
                "label_size": "4x6",
                "label_type": "default",
                "label_file_type": "application/pdf" if extension == "pdf" else f"image/{extension}",
                "label_url": f"https://easypost-files.example/postage_label/{shipment_id}.{extension}",
                "label_pdf_url": None,
                "label_zpl_url": None,
                "label_epl2_url": None,
                "label_file": None,
            },
            "fees": [_fee("LabelFee", "0.00000"), _fee("PostageFee", f"{rate['rate']}000")],
        }
        self._labels.append(
            {"reference": shipment["reference"], "shipment_id": shipment_id, "tracking_code": code, "at": now}
        )
        return 200, shipment

    def _refund(self, _: Json, shipment_id: str) -> tuple[int, Any]:
        shipment = self._shipment(shipment_id)
        moving = shipment["tracker"] and shipment["tracker"]["status"] not in {"unknown", "pre_transit"}
        if not shipment["postage_label"] or shipment["refund_status"] or moving:
            raise Refusal(422, "SHIPMENT.REFUND.UNAVAILABLE", "Refund is not available for this shipment.")
        shipment |= {"refund_status": "submitted", "updated_at": self._now()}
        return 200, shipment

    def _rate(self, shipment: Json) -> None:
        problems = [problem["message"] for problem in _problems(shipment["to_address"])]
        if shipment["parcel"]["weight"] > HEAVIEST_OUNCES:
            problems.append("The parcel is too heavy.")
        abroad = shipment["from_address"]["country"] != shipment["to_address"]["country"]
        if abroad and not shipment["customs_info"]:
            problems.append("customs_info is required for international shipments.")
        now, pounds = self._now(), int(-(-shipment["parcel"]["weight"] // 16))
        shipment["messages"] = [{"carrier": "USPS", "type": "rate_error", "message": problem} for problem in problems]
        shipment["rates"] = [
            {
                "id": self._new_id("rate"),
                "object": "Rate",
                "created_at": now,
                "updated_at": now,
                "mode": "test",
                "service": service,
                "carrier": "USPS",
                "rate": _dollars(cents + cents * (pounds - 1) // 5),
                "currency": "USD",
                "retail_rate": _dollars(cents * 5 // 4 + cents * (pounds - 1) // 4),
                "retail_currency": "USD",
                "list_rate": _dollars(cents + cents * (pounds - 1) // 5),
                "list_currency": "USD",
                "billing_type": "easypost",
                "delivery_days": days,
                "delivery_date": None,
                "delivery_date_guaranteed": False,
                "est_delivery_days": days,
                "shipment_id": shipment["id"],
                "carrier_account_id": "ca_local",
            }
            for service, cents, days in SERVICES
            if not problems
        ]

    def _address(self, asked: Json) -> Json:
        now = self._now().replace("Z", "+00:00")
        given = ("name", "company", "street1", "street2", "city", "state", "zip")
        return {
            "id": self._new_id("adr"),
            "object": "Address",
            "created_at": now,
            "updated_at": now,
            **{name: asked.get(name) for name in given},
            "country": asked.get("country") or "US",
            "phone": asked.get("phone"),
            "email": asked.get("email"),
            "mode": "test",
            "carrier_facility": None,
            "residential": None,
            "federal_tax_id": None,
            "state_tax_id": None,
            "verifications": {},
        }

    def _customs(self, asked: Json) -> Json:
        now = self._now()
        items = []
        for item in asked["customs_items"]:
            if not item["origin_country"] or item["quantity"] < 1 or item["value"] <= 0 or item["weight"] <= 0:
                raise Refusal(422, "CUSTOMS_INFO.INVALID", "The customs items are incomplete.")
            items.append(
                {
                    "id": self._new_id("cstitem"),
                    "object": "CustomsItem",
                    "created_at": now,
                    "updated_at": now,
                    "description": item["description"],
                    "hs_tariff_number": item.get("hs_tariff_number"),
                    "origin_country": item["origin_country"],
                    "quantity": item["quantity"],
                    "value": f"{item['value']:.2f}",
                    "weight": float(item["weight"]),
                    "code": None,
                    "mode": "test",
                    "manufacturer": None,
                    "currency": item.get("currency"),
                    "eccn": None,
                    "printed_commodity_identifier": None,
                }
            )
        return {
            "id": self._new_id("cstinfo"),
            "object": "CustomsInfo",
            "created_at": now,
            "updated_at": now,
            "contents_explanation": asked.get("contents_explanation", ""),
            "contents_type": asked["contents_type"],
            "customs_certify": bool(asked["customs_certify"]),
            "customs_signer": asked["customs_signer"],
            "eel_pfc": asked["eel_pfc"],
            "non_delivery_option": asked.get("non_delivery_option"),
            "restriction_comments": None,
            "restriction_type": asked["restriction_type"],
            "mode": "test",
            "declaration": None,
            "customs_items": items,
        }

    def _create_scan_form(self, body: Json) -> tuple[int, Any]:
        """One form for parcels that leave one address by one carrier; a shipment is on one form only."""
        shipments = [self._shipment(each["id"]) for each in body["scan_form"]["shipments"]]
        origins = {(each["from_address"]["street1"], each["from_address"]["zip"]) for each in shipments}
        carriers = {each["selected_rate"]["carrier"] for each in shipments if each["selected_rate"]}
        if not shipments or any(not each["postage_label"] or each["refund_status"] for each in shipments):
            raise Refusal(422, "SCAN_FORM.INVALID", "Every shipment needs postage.")
        if len(origins) > 1 or len(carriers) > 1:
            raise Refusal(422, "SCAN_FORM.INVALID", "The shipments must share an address and a carrier.")
        if any(each["scan_form"] for each in shipments):
            raise Refusal(422, "SCAN_FORM.EXISTS", "A shipment is on a scan form already.")
        now, form_id = self._now(), self._new_id("sf")
        form = {
            "id": form_id,
            "object": "ScanForm",
            "created_at": now,
            "updated_at": now,
            "tracking_codes": [each["tracking_code"] for each in shipments],
            "address": shipments[0]["from_address"],
            "status": "created",
            "message": None,
            "form_url": f"https://easypost-files.example/scan_form/{form_id}.pdf",
            "form_file_type": None,
            "mode": "test",
            "confirmation": None,
            "batch_id": None,
        }
        self._scan_forms[form_id] = form
        for shipment in shipments:
            shipment["scan_form"] = form
        return 201, form

    def _shipment(self, shipment_id: str) -> Json:
        return _found(self._shipments, shipment_id)

    # ---- tracking

    def _create_tracker(self, body: Json) -> tuple[int, Any]:
        asked = body["tracker"]
        code = asked["tracking_code"]
        return 200, self._tracker(code, asked.get("carrier", "USPS"), MAGIC.get(code, "unknown"), None)

    def _tracker(self, code: str, carrier: str, status: str, shipment_id: str | None) -> Json:
        tracker_id = self._new_id("trk")
        token = base64.urlsafe_b64encode(f"v1:{tracker_id}".encode()).decode().rstrip("=")
        tracker: Json = {
            "id": tracker_id,
            "object": "Tracker",
            "mode": "test",
            "tracking_code": code,
            "status": "unknown",
            "status_detail": "unknown",
            "created_at": self._now(),
            "updated_at": self._now(),
            "signed_by": None,
            "weight": None,
            "est_delivery_date": None,
            "shipment_id": shipment_id,
            "carrier": carrier,
            "tracking_details": [],
            "fees": [],
            "carrier_detail": None,
            "public_url": f"https://track.easypost.com/{token}",
        }
        self._trackers[tracker_id] = tracker
        self._emit("tracker.created", tracker, {})
        if status != "unknown":
            self._move(tracker, status)
        return tracker

    def _track(self, body: Json) -> tuple[int, Any]:
        """The carrier scans a parcel: by tracker id, tracking code or shipment id."""
        if body["status"] not in STATUSES:
            raise Refusal(422, "INVALID_PARAMETER", f"There is no status {body['status']}.")
        names = {body.get(name) for name in ("tracker", "tracking_code", "shipment")} - {None}
        for tracker in self._trackers.values():
            if names & {tracker["id"], tracker["tracking_code"], tracker["shipment_id"]}:
                self._move(tracker, body["status"], body.get("status_detail", "status_update"))
                return 200, tracker
        raise Refusal(404, "NOT_FOUND", "The requested resource could not be found.")

    def _move(self, tracker: Json, status: str, detail: str = "status_update") -> None:
        before = {"status": tracker["status"]}
        now = self._now()
        tracker |= {"status": status, "status_detail": detail, "updated_at": now}
        tracker["signed_by"] = "John Tester" if status == "delivered" else None
        place = {
            "object": "TrackingLocation",
            "city": "HOUSTON",
            "state": "TX",
            "country": "US",
            "zip": "77063",
        }
        tracker["tracking_details"].append(
            {
                "object": "TrackingDetail",
                "message": status.replace("_", " ").capitalize(),
                "description": "",
                "status": status,
                "status_detail": detail,
                "datetime": now,
                "source": tracker["carrier"],
                "carrier_code": "",
                "tracking_location": place,
            }
        )
        if tracker["shipment_id"]:
            self._shipments[tracker["shipment_id"]]["status"] = status
        self._emit("tracker.updated", tracker, before)

    # ---- events

    def _create_webhook(self, body: Json) -> tuple[int, Any]:
        asked = body["webhook"]
        self._callback_url = asked["url"]
        self._webhook_secret = asked.get("webhook_secret", "")
        return 201, {
            "id": self._new_id("hook"),
            "object": "Webhook",
            "mode": "test",
            "url": asked["url"],
            "created_at": self._now(),
            "disabled_at": None,
            "custom_headers": asked.get("custom_headers", []),
        }

    def _emit(self, description: str, tracker: Json, before: Json) -> None:
        shipment = self._shipments.get(tracker["shipment_id"] or "")
        returned = bool(shipment and shipment["is_return"])
        told = copy.deepcopy(tracker) | {"finalized": tracker["status"] in FINAL, "is_return": returned}
        del told["fees"]
        event: Json = {
            "description": description,
            "mode": "test",
            "previous_attributes": before,
            "created_at": self._now(),
            "pending_urls": [self._callback_url] if self._callback_url else [],
            "completed_urls": [],
            "updated_at": self._now(),
            "id": self._new_id("evt"),
            "user_id": "user_local",
            "status": "pending",
            "object": "Event",
            "result": told,
        }
        self._events[event["id"]] = event
        self._unsent.append(event)

    def _send(self, event: Json) -> None:
        if not self._callback_url:
            return
        body = json.dumps(event, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", "user-agent": "EasyPost/1.0"}
        if self._webhook_secret:
            headers["x-hmac-signature"] = sign(self._webhook_secret, body)
        self._attempts.setdefault(event["id"], [])
        delivery = Delivery(self._callback_url, headers, body)
        if self._bad_post["drop"]:
            self._bad_post["drop"] -= 1
        elif self._bad_post["hold"]:
            self._bad_post["hold"] -= 1
            self._kept.append(delivery)
        else:
            self._deliver(delivery)
            if self._bad_post["duplicate"]:
                self._bad_post["duplicate"] -= 1
                self._deliver(delivery)

    def _set_bad_post(self, body: Json) -> tuple[int, Any]:
        self._bad_post = {name: int(body.get(name, 0)) for name in self._bad_post}
        return 200, dict(self._bad_post)

    def _release_post(self, _: Json) -> tuple[int, Any]:
        kept, self._kept = self._kept, []
        for delivery in reversed(kept):
            self._deliver(delivery)
        return 200, {"released": len(kept)}

    # ---- the parts of others

    def _configure(self, body: Json) -> tuple[int, Any]:
        self._callback_url = body.get("callback_url", self._callback_url)
        self._webhook_secret = body.get("webhook_secret", self._webhook_secret)
        return 200, {"callback_url": self._callback_url}

    def _set_faults(self, body: Json) -> tuple[int, Any]:
        self._down, self._faults = bool(body.get("down", False)), list(body.get("next", []))
        return 200, {"down": self._down, "next": self._faults}

    def _take_fault(self, request: Request) -> Json | None:
        if self._down:
            return {"status": 503}
        for index, fault in enumerate(self._faults):
            if fault.get("method", request.method) == request.method and fault.get("path", "") in request.path:
                return self._faults.pop(index)
        return None

    def _labels_of(self, reference: str) -> list[Json]:
        return [
            label | {"refund_status": self._shipments[label["shipment_id"]]["refund_status"]}
            for label in self._labels
            if not reference or label["reference"] == reference
        ]

    def _deliveries(self) -> list[Json]:
        return [
            {
                "event": event_id,
                "type": self._events[event_id]["description"],
                "attempts": attempts,
                "delivered": self._events[event_id]["status"] == "completed",
            }
            for event_id, attempts in self._attempts.items()
        ]

    def _count(self, name: str) -> int:
        self._counters[name] = self._counters.get(name, 0) + 1
        return self._counters[name]

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self._seed}{self._count(prefix):012d}"

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _found(objects: dict[str, Json], object_id: str) -> Json:
    if object_id not in objects:
        raise Refusal(404, "NOT_FOUND", "The requested resource could not be found.")
    return objects[object_id]


def _problems(address: Json) -> list[Json]:
    """What is wrong with an address, as a verification says it; "invalid" is the vendor's test street."""
    street = address["street1"] or ""
    problems = []
    if not street or street.lower() == "invalid" or not (address["zip"] or address["city"]):
        problems.append(("E.ADDRESS.NOT_FOUND", "address", "Address not found"))
    if address["country"] == "US" and not any(letter.isdigit() for letter in street):
        problems.append(("E.HOUSE_NUMBER.MISSING", "street1", "House number is missing"))
    return [{"code": code, "field": field, "message": message, "suggestion": None} for code, field, message in problems]


def _verified() -> Json:
    checked = {"success": True, "errors": [], "details": None}
    return {"zip4": checked, "delivery": checked}


def _failure(fault: Json) -> Response:
    message = "The server encountered an unexpected error."
    return Response.of(
        int(fault["status"]), {"error": {"code": "INTERNAL_SERVER_ERROR", "message": message, "errors": []}}
    )


def _fee(kind: str, amount: str) -> Json:
    return {"object": "Fee", "type": kind, "amount": amount, "charged": True, "refunded": False}


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
