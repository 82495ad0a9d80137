"""``docs/openapi.json``, generated: requests from the forms that check them, answers from the schemas below.

The component tests hold every answer of the real handlers against these schemas, and a contract test holds the file
against this module and the template's routes, so none of the three can drift.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from oms.customers.demands import AskForm, CloseDemandForm, HoldPersonForm
from oms.customers.forms import ChangeCustomerForm, MergeForm
from oms.customers.reward_forms import RewardRulesForm
from oms.customers.segment_forms import CampaignExportForm, PreviewForm, SegmentForm
from oms.fulfillment.carrier import TrackingStatus
from oms.fulfillment.forms import (
    CartonsForm,
    CollectForm,
    CompleteForm,
    LabelsForm,
    LayoutForm,
    PutBackForm,
    RulesForm,
    ScanForm,
    ShortForm,
    SkipForm,
    WalkScanForm,
    WalkShortForm,
    WaveForm,
)
from oms.fulfillment.routing_forms import DeclineForm, DryRunForm, FacilityForm, LabelForm, RoutingRulesForm
from oms.inventory.forms import (
    CloseForm,
    CountForm,
    CountResultForm,
    JobForm,
    ListingForm,
    MovementForm,
    ProductForm,
    PurchaseForm,
    ReceiptForm,
    SupplyForm,
    TransferForm,
    TransferReceiptForm,
    ZoneForm,
)
from oms.messages.forms import MessagePreferencesForm, ResendForm, SettleMailForm
from oms.orders.aftersales_forms import (
    ConfirmEditForm,
    EditForm,
    GivenBackForm,
    RefundForm,
    ReturnDecisionForm,
    ReturnForm,
    ReturnScanForm,
    WithdrawForm,
)
from oms.orders.coupon_forms import CouponForm, CouponTermsForm
from oms.orders.forms import AddressForm, CancelOrderForm, HoldForm, PlaceOrderForm, ReleaseForm
from oms.orders.notes import MessageForm, NoteForm
from oms.orders.priority_forms import PriorityRehearsalForm, PriorityRulesForm
from oms.orders.staff_forms import DraftForm, HandOverForm, PlaceDraftForm, StaffOrderForm, TenderForm
from oms.payments.disputes import CloseCaseForm, EvidenceForm
from oms.webhooks.forms import ChangeSubscriptionForm, ReplayForm, RotateSecretForm, SubscriptionForm

TARGET = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"
Schema = dict[str, Any]


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object that has these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
MINOR: Schema = {"type": "integer", "description": "minor units of the currency"}
CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}
TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC"}
ANY_OBJECT: Schema = {"type": "object"}

_TOTALS = _object({"items": MINOR, "shipping": MINOR, "tax": MINOR, "discount": MINOR, "total": MINOR})
_UNITS = _list(_object({"line": NUMBER, "sku": TEXT, "quantity": COUNT}))
_BACKORDERED = {"line": NUMBER, "sku": TEXT, "quantity": COUNT, "expected_at": _or_null(TIME)}
_HOLD = _object({"reason": TEXT, "owner": TEXT, "since": TIME, "deadline": TIME})
_FOUND_CUSTOMER = {
    "customer_id": TEXT,
    "name": TEXT,
    "email": _or_null(TEXT),
    "phone": _or_null(TEXT),
    "orders": COUNT,
    "spent": _map(MINOR),
    "last_order_at": _or_null(TIME),
}
_CUSTOMER = _object(
    {
        **_FOUND_CUSTOMER,
        "identities": _list(TEXT),
        "addresses": _list(_map(TEXT)),
        "note": _or_null(TEXT),
        "verified": _list(TEXT),
        "cancelled_orders": COUNT,
        "units": COUNT,
        "channels": _map(COUNT),
        "countries": _map(COUNT),
        "payment_methods": _map(COUNT),
        "first_order_at": _or_null(TIME),
        "days_between_orders": _or_null(COUNT),
        "marketing": FLAG,
        "merges": _list(_ref("CustomerMerge")),
        "version": COUNT,
    }
)
_DEMAND: dict[str, Schema] = {
    "demand_id": TEXT,
    "kind": TEXT,
    "channel": TEXT,
    "status": TEXT,
    "customer_id": _or_null(TEXT),
    "buyer_ids": _list(TEXT),
    "external_ids": _list(TEXT),
    "everybody": FLAG,
    "needs_somebody": FLAG,
    "reason": _or_null(TEXT),
    "asked_by": _or_null(TEXT),
    "confirmed_by": _or_null(TEXT),
    "received_at": TIME,
    "deadline": TIME,
    "overdue": FLAG,
    "begins_at": _or_null(TIME),
    "waits_for": _list(_object({"order_id": TEXT, "because": TEXT})),
    "made_at": _or_null(TIME),
    "outcome": _or_null(TEXT),
    "order_ids": _list(TEXT),
    "done_by": _or_null(TEXT),
    "done_at": _or_null(TIME),
}
_ZONE = _object({"facility": TEXT, "zone": TEXT, "name": TEXT, "bins": _list(TEXT)})
_SUPPLY: dict[str, Schema] = {
    "supply": TEXT,
    "kind": TEXT,
    "quantity": COUNT,
    "party": _or_null(TEXT),
    "expected_at": _or_null(TIME),
}
_COUNT: dict[str, Schema] = {
    "count_id": TEXT,
    "facility": TEXT,
    "bin": TEXT,
    "state": {"enum": ["open", "done"]},
    "reason": TEXT,
    "to_count": _list(TEXT),
    "counted": _list(TEXT),
    "asked_at": TIME,
}
_PAYMENT_CASE = _object(
    {
        "kind": TEXT,
        "case_id": TEXT,
        "status": TEXT,
        "data": ANY_OBJECT,
        "opened_at": TIME,
        "deadline": _or_null(TIME),
        "outcome": _or_null(TEXT),
        "closed_by": _or_null(TEXT),
        "closed_at": _or_null(TIME),
    }
)
_DRAFT: dict[str, Schema] = {
    "draft_id": TEXT,
    "version": NUMBER,
    "owner": TEXT,
    "saved_by": TEXT,
    "saved_at": TIME,
    "expires_at": TIME,
    "channel": TEXT,
    "customer_name": _or_null(TEXT),
    "units": COUNT,
}
_REDEEMED = _object({"code": TEXT, "discount": MINOR, "shipping": MINOR})
_PRICED_NOW = _object(
    {
        "currency": CURRENCY,
        "totals": _or_null(_TOTALS),
        "coupons": _list(_REDEEMED),
        "lines": _list(
            _object(
                {
                    "line": NUMBER,
                    "sku": TEXT,
                    "title": _or_null(TEXT),
                    "quantity": COUNT,
                    "unit_price": _or_null(MINOR),
                    "discount": _or_null(MINOR),
                    "tax": _or_null(MINOR),
                    "available": COUNT,
                    "lacking": COUNT,
                    "backorder": FLAG,
                    "expected_at": _or_null(TIME),
                }
            )
        ),
        "problems": _list(_object({"field": TEXT, "message": TEXT})),
    }
)
_COUPON = _object(
    {
        "code": TEXT,
        "kind": {"enum": ["percent", "amount", "shipping"]},
        "percent": _or_null(NUMBER),
        "amounts": _map(MINOR),
        "limit": _or_null(NUMBER),
        "per_customer": _or_null(NUMBER),
        "per_address": _or_null(NUMBER),
        "starts_at": _or_null(TIME),
        "ends_at": _or_null(TIME),
        "minimum": _map(MINOR),
        "minimum_units": COUNT,
        "skus": _list(TEXT),
        "exclusive": FLAG,
        "active": FLAG,
        "personal": FLAG,
        "version": NUMBER,
    },
    {"used": COUNT},
)
_PRIORITY = _object({"score": COUNT, "codes": TEXT})

_RETURN = _object(
    {
        "return_id": TEXT,
        "order_id": TEXT,
        "number": NUMBER,
        "status": TEXT,
        "requested_at": TIME,
        "deadline": _or_null(TIME),
        "lines": _list(_object({"line": NUMBER, "quantity": COUNT, "reason": TEXT})),
        "exchange": _list(_object({"sku": TEXT, "quantity": COUNT})),
        "facility": _or_null(TEXT),
        "label": _or_null(
            _object({"carrier": TEXT, "tracking_number": TEXT, "url": TEXT, "amount": MINOR, "currency": CURRENCY})
        ),
        "received": _map(_map(COUNT)),
        "worth": MINOR,
        "refunded": MINOR,
        "exchange_order": _or_null(TEXT),
    }
)
_LOT = {"lot": _or_null(TEXT), "expires": _or_null(TEXT)}
_PUT_BACK = _object(
    {
        "putback_id": TEXT,
        "facility": TEXT,
        "order_id": _or_null(TEXT),
        "shipment": _or_null(NUMBER),
        "walk_id": _or_null(TEXT),
        "units": _list(
            _object(
                {"sku": TEXT, "quantity": COUNT, "bin": _or_null(TEXT)},
                {"lots": _list(_object({**_LOT, "quantity": COUNT}))},
            )
        ),
        "asked_at": TIME,
        "done_at": _or_null(TIME),
    }
)
_PURCHASE = _object(
    {
        "shipment_id": TEXT,
        "facility": TEXT,
        "state": {"enum": ["asked", "confirmed", "declined", "cancelled"]},
        "status": TEXT,
        "units": _list(_object({"sku": TEXT, "quantity": COUNT})),
        "asked_at": _or_null(TIME),
        "deadline": _or_null(TIME),
        "tracking_number": _or_null(TEXT),
    }
)
_PICK_UP = _object(
    {
        "shipment_id": TEXT,
        "order_id": TEXT,
        "status": TEXT,
        "facility": TEXT,
        "name": TEXT,
        "units": _list(_object({"sku": TEXT, "quantity": COUNT})),
        "tote": _or_null(TEXT),
        "ready_at": TIME,
        "collect_by": _or_null(TIME),
        "collected_at": _or_null(TIME),
    }
)
_METHOD: Schema = {"enum": ["single", "batch", "zone", "wave", "cluster"]}
_WAVE: dict[str, Schema] = {
    "wave_id": TEXT,
    "facility": TEXT,
    "state": {"enum": ["releasing", "released"]},
    "cut_off": _or_null(TIME),
    "by": TEXT,
    "created_at": TIME,
    "walk_ids": _list(TEXT),
    "left_out": {"type": "integer", "minimum": 0, "description": "groups of parcels that the floor did not take"},
}
_TRACKING: Schema = {"enum": [status.value for status in TrackingStatus]}

_EXCEPTION = _object(
    {
        "shipment_id": TEXT,
        "order_id": TEXT,
        "kind": TEXT,
        "detail": TEXT,
        "owner": TEXT,
        "since": TIME,
        "deadline": TIME,
        "closed_at": _or_null(TIME),
    }
)

_POINT: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_FACILITY = _object(
    {
        "facility": TEXT,
        "kind": {"enum": ["warehouse", "store", "vendor"]},
        "address": _map(TEXT),
        "phone": _or_null(TEXT),
        "email": _or_null(TEXT),
        "time_zone": TEXT,
        "opening": _map(_list(TEXT)),
        "holidays": _list(TEXT),
        "cut_offs": _map(TEXT),
        "handling_days": _map(COUNT),
        "daily_orders": _or_null(COUNT),
        "daily_units": _or_null(COUNT),
        "ships": FLAG,
        "pickup": FLAG,
        "active": FLAG,
        "cost": MINOR,
        "coordinates": _or_null(_POINT),
    }
)

_MANIFEST = _object({"manifest_id": TEXT, "carrier": TEXT, "form_url": TEXT, "parcels": COUNT, "made_at": TIME})

_MESSAGE = _object(
    {
        "to": {"enum": ["customer", "vendor"]},
        "kind": TEXT,
        "about": TEXT,
        "copy": COUNT,
        "event": NUMBER,
        "status": {
            "enum": ["sending", "sent", "waiting", "uncertain", "failed", "suppressed", "bounced", "complained"]
        },
        "reason": _or_null(TEXT),
        "at": TIME,
        "by": TEXT,
        "settled": _or_null({"enum": ["told_another_way", "not_needed", "cannot_be_reached"]}),
    }
)
_SUBSCRIPTION = {
    "subscription_id": TEXT,
    "url": TEXT,
    "types": _list(TEXT),
    "include": _list(TEXT),
    "status": {"enum": ["active", "disabled"]},
    "reason": _or_null(TEXT),
    "created_at": TIME,
}

_NOTE = {
    "note_id": TEXT,
    "text": _or_null(TEXT),
    "author": TEXT,
    "by_customer": FLAG,
    "at": TIME,
    "question": FLAG,
    "in_reply_to": _or_null(TEXT),
    "owner": _or_null(TEXT),
    "deadline": _or_null(TIME),
    "answered_by": _or_null(TEXT),
}
_ORDER_SUMMARY: Mapping[str, Schema] = {
    "order_id": {"type": "string", "format": "uuid"},
    "channel": TEXT,
    "external_id": _or_null(TEXT),
    "status": TEXT,
    "placed_at": TIME,
    "customer_id": TEXT,
    "customer_name": TEXT,
    "lines": COUNT,
    "units": COUNT,
    "currency": CURRENCY,
    "total": MINOR,
    "payment_status": TEXT,
    "priority": _PRIORITY,
    "holds": _list(TEXT),
}
_SEGMENT: dict[str, Schema] = {
    "name": TEXT,
    "conditions": _ref("ConditionForm"),
    "version": COUNT,
    "changed_by": TEXT,
    "changed_at": TIME,
}
_SEGMENT_COUNT = _object({"people": COUNT, "looked_at": COUNT, "complete": FLAG})

ANSWERS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457; `code` is stable, `errors` says what is wrong where",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": NUMBER,
            "code": TEXT,
            "detail": TEXT,
            "errors": _list(_object({"field": TEXT, "message": TEXT})),
            "request_id": TEXT,
        },
        "required": ["type", "title", "status", "code", "request_id"],
    },
    "Placement": _object(
        {
            "order_id": {"type": "string", "format": "uuid"},
            "status": {"enum": ["placed", "confirmed"]},
            "currency": CURRENCY,
            "total": MINOR,
            "totals": _TOTALS,
            "payment": _object({"provider": TEXT, "client_secret": _or_null(TEXT)}),
            "order_token": TEXT,
            "expires_at": TIME,
            "backordered": _list(_object(_BACKORDERED)),
        }
    ),
    "StaffPlacement": _object(
        {
            "order_id": {"type": "string", "format": "uuid"},
            "channel": TEXT,
            "status": TEXT,
            "currency": CURRENCY,
            "total": MINOR,
            "totals": _TOTALS,
            "payment": _object({"method": TEXT, "due_at": _or_null(TIME)}),
            "our_total": _or_null(MINOR),
            "order_token": TEXT,
            "placed_at": TIME,
            "taken_at": _or_null(TIME),
            "expires_at": _or_null(TIME),
            "backordered": _list(_object(_BACKORDERED)),
            "not_on_the_books": _map(COUNT),
        }
    ),
    "Draft": _object({**_DRAFT, "form": ANY_OBJECT, "now": _PRICED_NOW}),
    "Drafts": _object({"drafts": _list(_object(_DRAFT)), "next_cursor": _or_null(TEXT)}),
    "DroppedDraft": _object({"draft_id": TEXT, "dropped": {"const": True}}),
    "Receipt": _object(
        {
            "order_id": {"type": "string", "format": "uuid"},
            "merchant": _object({"name": TEXT, "tax_id": _or_null(TEXT), "store": _list(TEXT)}),
            "channel": TEXT,
            "sold_at": TIME,
            "customer": _or_null(TEXT),
            "currency": CURRENCY,
            "lines": _list(
                _object(
                    {
                        "line": NUMBER,
                        "sku": TEXT,
                        "title": TEXT,
                        "quantity": COUNT,
                        "unit_price": MINOR,
                        "discount": MINOR,
                        "net": MINOR,
                        "tax": MINOR,
                        "gross": MINOR,
                    }
                )
            ),
            "shipping": MINOR,
            "discount": MINOR,
            "taxes": _list(_object({"basis_points": _or_null(COUNT), "net": MINOR, "tax": MINOR})),
            "total": MINOR,
            "payments": _list(
                _object(
                    {
                        "kind": {"enum": ["paid", "on_account", "refunded"]},
                        "method": TEXT,
                        "amount": MINOR,
                        "reference": _or_null(TEXT),
                        "at": TIME,
                    }
                )
            ),
            "due": MINOR,
            "due_at": _or_null(TIME),
        }
    ),
    "Order": _object(
        {
            "order_id": {"type": "string", "format": "uuid"},
            "channel": TEXT,
            "status": {"enum": ["placed", "confirmed", "in_fulfillment", "completed", "cancelled", "expired"]},
            "placed_at": TIME,
            "expires_at": _or_null(TIME),
            "customer": _object({"email": TEXT, "name": TEXT}, {"phone": TEXT, "id": TEXT}) | {"required": []},
            "shipping_address": _map(TEXT),
            "shipping_method": TEXT,
            "lines": _list(
                _object(
                    {
                        "line": NUMBER,
                        "sku": TEXT,
                        "quantity": COUNT,
                        "unit_price": MINOR,
                        "discount": MINOR,
                        "tax": MINOR,
                        "cancelled": COUNT,
                        "shipped": COUNT,
                    }
                )
            ),
            "backordered": _list(_object({**_BACKORDERED, "waiting": COUNT})),
            "currency": CURRENCY,
            "total": MINOR,
            "totals": _TOTALS,
            "payment": _object(
                {
                    "status": TEXT,
                    "provider": TEXT,
                    "authorized": MINOR,
                    "captured": MINOR,
                    "refunded": MINOR,
                    "refund_due": MINOR,
                    "disputed": MINOR,
                    "credit": MINOR,
                    "due": MINOR,
                    "capture": TEXT,
                    "authorization_expires_at": _or_null(TIME),
                    "due_at": _or_null(TIME),
                }
            ),
            "refunds": _list(
                _object(
                    {
                        "refund_id": TEXT,
                        "provider": TEXT,
                        "amount": MINOR,
                        "currency": CURRENCY,
                        "status": TEXT,
                        "reason": TEXT,
                        "requested_at": TIME,
                    }
                )
            ),
            "shipments": _list(
                _object(
                    {
                        "number": NUMBER,
                        "status": TEXT,
                        "facility": TEXT,
                        "units": _UNITS,
                        "carrier": _or_null(TEXT),
                        "service": _or_null(TEXT),
                        "tracking_number": _or_null(TEXT),
                        "ship_by": _or_null(TIME),
                        "carrier_cutoff": _or_null(TIME),
                        "ready_at": _or_null(TIME),
                        "shipped_at": _or_null(TIME),
                        "tracking": _or_null(_object({"status": _TRACKING, "at": TIME})),
                        "delivered_at": _or_null(TIME),
                    }
                )
            ),
            "backordered_at": _or_null(TIME),
            "delivered_at": _or_null(TIME),
            "collect_by": _or_null(TIME),
            "collection_code": _or_null(TEXT),
            "counter": _or_null(TEXT),
            "taken_at": _or_null(TIME),
        },
        {
            "coupons": _list(_REDEEMED),
            "deliver_by": TEXT,
            "note": TEXT,
            "external_id": _or_null(TEXT),
            "priority": _object({"score": COUNT, "codes": TEXT, "rules": COUNT}),
            "holds": _map(_HOLD),
            "oversold": _map(COUNT),
            "pending": _list(TEXT),
            "version": NUMBER,
        },
    ),
    "OrderList": _object(
        {
            "orders": _list(_object(_ORDER_SUMMARY)),
            "next_cursor": _or_null(TEXT),
        }
    ),
    "Timeline": _object(
        {
            "order_id": TEXT,
            "status": TEXT,
            "proven": FLAG,
            "broken": _or_null(TEXT),
            "events": _list(
                _object(
                    {
                        "number": NUMBER,
                        "at": TIME,
                        "what": TEXT,
                        "who": TEXT,
                        "why": TEXT,
                        "data": ANY_OBJECT,
                        "sentence": TEXT,
                    }
                )
            ),
            "story": _list(
                _object(
                    {
                        "kind": {"enum": ["event", "mail", "sighting", "note", "hold"]},
                        "at": TIME,
                        "number": _or_null(NUMBER),
                        "what": TEXT,
                        "who": TEXT,
                        "through": TEXT,
                        "why": _or_null(TEXT),
                        "sentence": TEXT,
                        "text": _or_null(TEXT),
                    }
                )
            ),
        }
    ),
    "Actions": _object(
        {
            "order_id": TEXT,
            "status": TEXT,
            "version": COUNT,
            "actions": _list(
                _object(
                    {
                        "action": TEXT,
                        "do": TEXT,
                        "method": TEXT,
                        "path": TEXT,
                        "body": _or_null(ANY_OBJECT),
                        "idempotency_key": FLAG,
                        "allowed": FLAG,
                        "why_not": _or_null(_object({"code": TEXT, "detail": TEXT})),
                        "consequences": _list(TEXT),
                        "refund": MINOR,
                        "stops_warehouse": FLAG,
                    }
                )
            ),
        }
    ),
    "Automation": _object(
        {
            "from": TEXT,
            "to": TEXT,
            "orders": COUNT,
            "untouched": COUNT,
            "share_untouched": _or_null({"type": "number", "minimum": 0, "maximum": 1}),
            "reasons": _list(_object({"reason": TEXT, "words": TEXT, "orders": COUNT})),
            "days": _list(_object({"day": TEXT, "orders": COUNT, "untouched": COUNT})),
        }
    ),
    "WorkList": _object(
        {
            "work": _list(
                _object(
                    {
                        "kind": {
                            "enum": ["hold", "parcel", "case", "return", "backorder", "question", "mail", "person"]
                        },
                        "about": TEXT,
                        "order_id": _or_null(TEXT),
                        "what": TEXT,
                        "owner": TEXT,
                        "since": TIME,
                        "age_hours": COUNT,
                        "deadline": _or_null(TIME),
                        "overdue": FLAG,
                        "next": _object({"do": TEXT, "method": TEXT, "path": TEXT}),
                    }
                )
            ),
            "next_cursor": _or_null(TEXT),
        }
    ),
    "OrdersFound": _object(
        {
            "orders": _list(
                _object(
                    {
                        **_ORDER_SUMMARY,
                        "found_by": {"enum": ["number", "email", "phone", "name", "card", "tracking"]},
                    }
                )
            ),
            "more": FLAG,
        }
    ),
    "Outlook": _object(
        {
            "order_id": TEXT,
            "status": TEXT,
            "sentence": TEXT,
            "promised_at": _or_null(TIME),
            "expected_at": _or_null(TIME),
            "late": FLAG,
            "waits": _list(
                _object(
                    {
                        "on": TEXT,
                        "about": _or_null(TEXT),
                        "what": TEXT,
                        "owner": TEXT,
                        "since": TIME,
                        "until": _or_null(TIME),
                        "overdue": FLAG,
                        "then": TEXT,
                    }
                )
            ),
        }
    ),
    "Message": _MESSAGE,
    "Messages": _object({"order_id": TEXT, "messages": _list(_ref("Message"))}),
    "Customer": _CUSTOMER,
    "Customers": _object(
        {"customers": _list(_object(_FOUND_CUSTOMER))}, {"count": _SEGMENT_COUNT, "next_cursor": _or_null(TEXT)}
    ),
    "CustomerMerge": _object(
        {
            "merge_id": TEXT,
            "kept": TEXT,
            "joined": TEXT,
            "identities": _list(TEXT),
            "reason": TEXT,
            "by_what": {"enum": ["hand", "email", "phone"]},
            "by": TEXT,
            "at": TIME,
            "undone_at": _or_null(TIME),
            "undone_by": _or_null(TEXT),
        }
    ),
    "CampaignExport": _object(
        {
            "id": TEXT,
            "status": {"enum": ["queued", "running", "composing", "completed", "outdated", "expired", "failed"]},
            "purpose": {"enum": ["marketing", "analysis"]},
            "format": {"enum": ["csv", "parquet", "dynamodb_json"]},
            "how": {"enum": ["file", "table"]},
            "segment": _or_null(TEXT),
            "conditions": _ref("ConditionForm"),
            "created_at": TIME,
            "created_by": TEXT,
            "expires_at": TIME,
            "percent": COUNT,
            "looked_at": COUNT,
            "people": COUNT,
            "left_out": _map(COUNT),
            "checked_at": _or_null(TIME),
            "detail": _or_null(TEXT),
            "download": _or_null(_object({"method": TEXT, "url": TEXT})),
            "table": _or_null(_object({"data": TEXT, "query": TEXT})),
        }
    ),
    "Segment": _object(_SEGMENT),
    "Segments": _object({"segments": _list(_ref("Segment")), "next_cursor": _or_null(TEXT)}),
    "SegmentPreview": _object({"count": _SEGMENT_COUNT, "customers": _list(_object(_FOUND_CUSTOMER))}),
    "Demand": _object(_DEMAND),
    "DemandWithLink": _object({**_DEMAND, "link": _or_null(TEXT)}),
    "DemandList": _object({"demands": _list(_ref("Demand")), "next_cursor": _or_null(TEXT)}),
    "PersonHold": _object({"customer_id": TEXT, "identities": _list(TEXT), "until": _or_null(TIME)}),
    "MessageWishes": _object(
        {
            "off": _list(TEXT),
            "marketing": FLAG,
            "consents": _list(
                _object(
                    {
                        "marketing": FLAG,
                        "off": _list(TEXT),
                        "source": TEXT,
                        "wording": TEXT,
                        "changed_by": TEXT,
                        "changed_at": TIME,
                    }
                )
            ),
        }
    ),
    "MessagePreferences": _object({"off": _list(TEXT), "marketing": {"type": "boolean"}}),
    "Subscription": _object(
        _SUBSCRIPTION,
        {
            "delivery": _object(
                {
                    "last": COUNT,
                    "delivered": COUNT,
                    "attempts": COUNT,
                    "failing_since": _or_null(TIME),
                    "next_attempt_at": _or_null(TIME),
                }
            )
        },
    ),
    "SubscriptionWithSecret": _object({**_SUBSCRIPTION, "secret": TEXT}),
    "Subscriptions": _object({"subscriptions": _list(_ref("Subscription"))}),
    "Deleted": _object({"deleted": TEXT}),
    "Deliveries": _object(
        {
            "subscription_id": TEXT,
            "deliveries": _list(
                _object(
                    {
                        "sequence": NUMBER,
                        "type": TEXT,
                        "order_id": TEXT,
                        "order_event": NUMBER,
                        "occurred_at": TIME,
                        "status": {"enum": ["waiting", "failing", "delivered"]},
                        "attempts": COUNT,
                        "answer": _or_null(COUNT),
                        "tried_at": _or_null(TIME),
                    }
                )
            ),
            "next_cursor": _or_null(TEXT),
        }
    ),
    "Replay": _object({"from": NUMBER, "to": COUNT}),
    "Dispute": _object(
        {
            "dispute_id": TEXT,
            "status": TEXT,
            "reason": TEXT,
            "amount": MINOR,
            "currency": CURRENCY,
            "due_by": _or_null(TIME),
            "evidence_status": TEXT,
            "submitted_at": _or_null(TIME),
            "evidence": _map(TEXT),
        }
    ),
    "PaymentCase": _PAYMENT_CASE,
    "PaymentCases": _object({"cases": _list(_PAYMENT_CASE), "cursor": _or_null(TEXT)}),
    "ParcelException": _EXCEPTION,
    "ParcelExceptions": _object({"parcels": _list(_EXCEPTION), "next_cursor": _or_null(TEXT)}),
    "Received": {"type": "object", "properties": {"received": {}, "challengeResponse": TEXT}},
    "Product": _object(
        {
            "sku": TEXT,
            "title": TEXT,
            "price": _object({"amount": MINOR, "currency": CURRENCY}),
            "barcodes": _list(TEXT),
            "barcode_kinds": _map(TEXT),
            "specs": _map(TEXT),
            "weight_grams": COUNT,
            "dimensions_mm": _or_null(_list(COUNT)),
            "vendors": _list(ANY_OBJECT),
            "track": _list({"enum": ["serial", "lot", "expiry"]}),
            "min_life_days": COUNT,
            "hs_code": _or_null(TEXT),
            "origin_country": _or_null(TEXT),
            "kit": _list(_object({"sku": TEXT, "quantity": COUNT})),
            "stripes": COUNT,
            "safety_stock": COUNT,
            "low_stock_at": _or_null(COUNT),
            "backorder": FLAG,
            "archived": FLAG,
            "version": NUMBER,
        },
        {"listings": _map(_ref("Listing")), "available": COUNT},
    ),
    "Products": _object({"products": _list(_ref("Product")), "next_cursor": _or_null(TEXT)}),
    "CatalogueJob": _object(
        {
            "id": TEXT,
            "kind": {"enum": ["import", "export"]},
            "status": {"enum": ["awaiting_upload", "queued", "running", "completed", "failed", "cancelled"]},
            "format": {"enum": ["csv", "jsonl"]},
            "dry_run": FLAG,
            "created_at": TIME,
            "created_by": TEXT,
            "rows": COUNT,
            "counts": _map(COUNT),
            "percent": COUNT,
            "errors": _list(_object({"line": COUNT, "sku": TEXT, "field": TEXT, "message": TEXT})),
            "detail": _or_null(TEXT),
            "upload": _or_null(_object({"method": TEXT, "url": TEXT})),
            "download": _or_null(_object({"method": TEXT, "url": TEXT})),
        }
    ),
    "Stock": _object(
        {
            "sku": TEXT,
            "available": COUNT,
            "reserved": NUMBER,
            "allocated": COUNT,
            "on_hand": COUNT,
            "damaged": COUNT,
            "quarantined": COUNT,
            "backordered": COUNT,
            "earmarked": COUNT,
            "supplies": _list(_object(_SUPPLY)),
            "facilities": _map(
                _object(
                    {
                        "on_hand": COUNT,
                        "allocated": COUNT,
                        "damaged": COUNT,
                        "quarantined": COUNT,
                        "bins": _map(COUNT),
                        "lots": _list(_object({"bin": TEXT, **_LOT, "units": COUNT})),
                    }
                )
            ),
            "channels": _map(
                _object(
                    {
                        "published": _or_null(COUNT),
                        "acknowledged": _or_null(COUNT),
                        "acknowledged_at": _or_null(TIME),
                        "lag_ms": _or_null(COUNT),
                    },
                    {"failure": TEXT},
                )
            ),
        },
        {"kit": _map(COUNT)},
    ),
    "Channels": _object(
        {
            "channels": _list(
                _object(
                    {
                        "channel": TEXT,
                        "breaker": {"enum": ["closed", "open", "half_open"]},
                        "paused_until": _or_null(TIME),
                        "reason": _or_null(TEXT),
                        "calls_today": COUNT,
                        "calls_per_day": _or_null(COUNT),
                        "lag_ms": _or_null(COUNT),
                        "acknowledged_at": _or_null(TIME),
                        "backlog": COUNT,
                        "polled_until": _or_null(TIME),
                        "reconcile": _or_null(
                            _object(
                                {
                                    "started_at": TIME,
                                    "finished_at": TIME,
                                    "compared": COUNT,
                                    "behind": COUNT,
                                    "drifted": COUNT,
                                    "causes": _map(COUNT),
                                    "differences": _list(
                                        _object(
                                            {
                                                "sku": TEXT,
                                                "shown": _or_null(COUNT),
                                                "should_show": COUNT,
                                                "cause": TEXT,
                                                "explanation": TEXT,
                                            }
                                        )
                                    ),
                                    "failure": _or_null(TEXT),
                                    "is_complete": FLAG,
                                }
                            )
                        ),
                    }
                )
            )
        }
    ),
    "Movement": _object(
        {
            "movement_id": TEXT,
            "type": TEXT,
            "sku": TEXT,
            "quantity": NUMBER,
            "change": NUMBER,
            "on_hand": NUMBER,
            "facility": TEXT,
            "bin": TEXT,
            "to_bin": TEXT,
            "reason": TEXT,
            "cause": TEXT,
            "actor": TEXT,
            "at": TIME,
        },
        {"lots": _map(COUNT)},
    ),
    "Lot": _object(
        {
            "sku": TEXT,
            "lot": TEXT,
            "stock": _list(
                _object({"facility": TEXT, "bin": TEXT, "expires": _or_null(TEXT), "units": COUNT}),
            ),
            "shipments": _list(
                _object(
                    {
                        "order_id": TEXT,
                        "shipment": COUNT,
                        "status": TEXT,
                        "units": COUNT,
                        "shipped_at": _or_null(TIME),
                    }
                )
            ),
            "next_cursor": _or_null(TEXT),
        }
    ),
    "Listing": _object(
        {
            "sku": TEXT,
            "channel": TEXT,
            "listing_id": TEXT,
            "buffer": COUNT,
            "percent": COUNT,
            "max_listed": _or_null(COUNT),
            "end_when": COUNT,
        }
    ),
    "Supply": _object({"sku": TEXT, **_SUPPLY}),
    "Transfer": _object(
        {
            "transfer_id": TEXT,
            "sku": TEXT,
            "quantity": COUNT,
            "origin": TEXT,
            "target": TEXT,
            "state": {"enum": ["in_transit", "received"]},
            "received": _or_null(COUNT),
            "difference": _or_null(NUMBER),
            "reason": TEXT,
            "shipped_by": TEXT,
            "shipped_at": TIME,
            "expected_at": _or_null(TIME),
            "received_by": _or_null(TEXT),
            "received_at": _or_null(TIME),
            "lots": _list(_object({**_LOT, "units": COUNT})),
        }
    ),
    "Transfers": _object({"transfers": _list(_ref("Transfer")), "next_cursor": _or_null(TEXT)}),
    "StockCount": _object(_COUNT),
    "StockCounts": _object({"counts": _list(_ref("StockCount")), "next_cursor": _or_null(TEXT)}),
    "Variance": _object(
        {
            **_COUNT,
            "results": _list(
                _object(
                    {
                        "sku": TEXT,
                        "found": COUNT,
                        "expected": COUNT,
                        "variance": NUMBER,
                        "state": {"enum": ["applied", "disputed"]},
                        "by": TEXT,
                        "at": TIME,
                    }
                )
            ),
            "variance": NUMBER,
            "absolute_variance": COUNT,
        }
    ),
    "Purchase": _object(
        {
            "purchase_id": TEXT,
            "vendor": TEXT,
            "state": {"enum": ["open", "closed"]},
            "expected_at": _or_null(TIME),
            "ordered_at": TIME,
            "ordered_by": TEXT,
            "lines": _list(_object({"sku": TEXT, "ordered": COUNT, "received": COUNT, "difference": NUMBER})),
            "closed_at": _or_null(TIME),
            "closed_because": _or_null(TEXT),
        }
    ),
    "Purchases": _object({"purchases": _list(_ref("Purchase")), "next_cursor": _or_null(TEXT)}),
    "Explanation": _object(
        {
            "sku": TEXT,
            "channel": _or_null(TEXT),
            "number": _or_null(NUMBER),
            "version": NUMBER,
            "chain": _list(
                {
                    "type": "object",
                    "properties": {"what": TEXT, "units": NUMBER, "balance": NUMBER},
                    "required": ["what", "units", "balance"],
                }
            ),
            "adds_up": FLAG,
            "differences": _list(TEXT),
        }
    ),
    "StockAlerts": _object(
        {
            "alerts": _list(
                _object({"sku": TEXT, "kind": TEXT, "units": COUNT, "threshold": COUNT, "raised_at": TIME})
            ),
            "next_cursor": _or_null(TEXT),
        }
    ),
    "Zone": _ZONE,
    "Zones": _object({"zones": _list(_ref("Zone"))}),
    "Facility": _FACILITY,
    "Facilities": _object({"facilities": _list(_FACILITY)}),
    "Rewards": _object(
        {
            "rewards": _list(
                _object(
                    {
                        "milestone": TEXT,
                        "state": {"enum": ["waiting", "used", "coupon", "withdrawn"]},
                        "gift": _list(TEXT),
                        "coupon": _or_null(TEXT),
                        "earned_at": TIME,
                        "earned_by": TEXT,
                        "used_in": _or_null(TEXT),
                    }
                )
            )
        }
    ),
    "RewardRules": _object(
        {
            "version": COUNT,
            "milestones": _list(
                _object(
                    {
                        "name": TEXT,
                        "currency": CURRENCY,
                        "spent": MINOR,
                        "gift": _list(TEXT),
                        "coupon": _or_null(
                            _object(
                                {
                                    "kind": TEXT,
                                    "percent": COUNT,
                                    "amounts": _map(MINOR),
                                    "minimum": _map(MINOR),
                                    "days": COUNT,
                                }
                            )
                        ),
                        "per_address": COUNT,
                    }
                )
            ),
        }
    ),
    "PriorityRules": _object(
        {
            "version": COUNT,
            "weights": _map(COUNT),
            "many_units": COUNT,
            "large_ticket": _map(MINOR),
            "frequent_orders": COUNT,
            "rush_methods": _list(TEXT),
            "promised_days": COUNT,
        }
    ),
    "PriorityRehearsal": _object(
        {
            "orders": _list(
                _object(
                    {
                        "order_id": TEXT,
                        "placed_at": TIME,
                        "before": _object({"score": COUNT, "codes": TEXT, "rules": COUNT}),
                        "after": _PRIORITY,
                        "changed": FLAG,
                    }
                )
            ),
            "changed": COUNT,
            "codes_before": _map(COUNT),
            "codes_after": _map(COUNT),
        }
    ),
    "Coupon": _COUPON,
    "Coupons": _object({"coupons": _list(_COUPON), "next_cursor": _or_null(TEXT)}),
    "RoutingRules": _object(
        {
            "version": COUNT,
            "rules": _list(
                _object(
                    {
                        "name": TEXT,
                        "when": _map(_list(TEXT)),
                        "prefer": _list(TEXT),
                        "exclude": _list(TEXT),
                        "max_parcels": _or_null(COUNT),
                        "whole": FLAG,
                    }
                )
            ),
            "places": _map(_POINT),
            "methods": _map(_object({"days": _or_null(COUNT), "carriers": _list(TEXT), "services": _list(TEXT)})),
        }
    ),
    "DayClosed": _object(
        {
            "facility": TEXT,
            "manifests": _list(_MANIFEST),
            "late": _list(_object({"shipment_id": TEXT, "status": TEXT, "ship_by": TIME})),
        }
    ),
    "Manifests": _object({"facility": TEXT, "manifests": _list(_MANIFEST)}),
    "ParcelLabel": _object(
        {"shipment_id": TEXT, "status": TEXT, "carrier": TEXT, "service": TEXT, "tracking_number": TEXT}
    ),
    "DryRun": _object(
        {
            "basis": TEXT,
            "orders": _list(
                _object(
                    {
                        "order_id": TEXT,
                        "before": _list(TEXT),
                        "after": _list(TEXT),
                        "changed": FLAG,
                        "rules": _list(TEXT),
                        "waits_for": _or_null(TEXT),
                        "kilometres": COUNT,
                    }
                )
            ),
            "changed": COUNT,
            "parcels_before": COUNT,
            "parcels_after": COUNT,
            "waiting": COUNT,
        }
    ),
    "Task": _object(
        {
            "task_id": TEXT,
            "kind": {"enum": ["pick", "pack"]},
            "state": TEXT,
            "order_id": TEXT,
            "shipment": NUMBER,
            "status": TEXT,
            "facility": TEXT,
            "priority": _PRIORITY,
            "placed_at": TIME,
            "deadline": _or_null(TIME),
            "started_by": _or_null(TEXT),
            "tote": _or_null(TEXT),
            "units": _list(
                _object(
                    {
                        "sku": TEXT,
                        "quantity": COUNT,
                        "scanned": COUNT,
                        "remaining": COUNT,
                        "title": _or_null(TEXT),
                        "barcodes": _list(TEXT),
                        "bin": _or_null(TEXT),
                        "lots": _list(_object({"quantity": COUNT}, {"bin": TEXT, **_LOT})),
                        "track": _list({"enum": ["serial", "lot", "expiry"]}),
                    }
                )
            ),
        }
    ),
    "Work": _object({"facility": TEXT, "tasks": _list(_ref("Task")), "next_cursor": _or_null(TEXT)}),
    "ScanResult": _object({"task_id": TEXT, "sku": TEXT, "quantity": COUNT, "scanned": COUNT, "remaining": COUNT}),
    "ShortResult": _object({"task_id": TEXT, "state": TEXT, "sku": TEXT, "short": COUNT, "holds": _list(TEXT)}),
    "Credit": _object(
        {
            "credit_id": TEXT,
            "kind": TEXT,
            "amount": MINOR,
            "currency": CURRENCY,
            "reason": TEXT,
            "refund_due": MINOR,
            "requested_at": TIME,
        }
    ),
    "Payment": _object(
        {"provider": TEXT, "client_secret": TEXT, "amount": MINOR, "currency": CURRENCY, "expires_at": TIME}
    ),
    "PaymentLink": _object({"order_id": TEXT, "event": COUNT, "expires_at": TIME}),
    "Note": _object(_NOTE),
    "OwnMessage": _object({"note_id": TEXT, "text": _or_null(TEXT), "at": TIME, "in_reply_to": _or_null(TEXT)}),
    "Notes": _object({"order_id": TEXT, "notes": _list(_object(_NOTE))}),
    "Refunds": _object(
        {
            "order_id": TEXT,
            "currency": CURRENCY,
            "refundable": MINOR,
            "refunds": _list(
                _object(
                    {
                        "refund_id": TEXT,
                        "amount": MINOR,
                        "status": TEXT,
                        "reason": TEXT,
                        "requested_at": TIME,
                        "failure": _or_null(TEXT),
                        "given_back_by": _or_null(TEXT),
                        "reference": _or_null(TEXT),
                    }
                )
            ),
        }
    ),
    "OpenHolds": _object(
        {
            "holds": _list(
                _object(
                    {
                        "order_id": TEXT,
                        "kind": TEXT,
                        "reason": TEXT,
                        "owner": TEXT,
                        "since": TIME,
                        "deadline": TIME,
                        "overdue": FLAG,
                    }
                )
            ),
            "next_cursor": _or_null(TEXT),
        }
    ),
    "EditPreview": _object(
        {
            "preview": TEXT,
            "order_id": TEXT,
            "currency": CURRENCY,
            "before": MINOR,
            "after": MINOR,
            "due": MINOR,
            "refund": MINOR,
            "lines": _list(_object({"line": NUMBER, "sku": TEXT, "quantity": COUNT, "tax": MINOR})),
            "stock": _list(_object({"sku": TEXT, "needed": COUNT, "available": COUNT, "enough": FLAG})),
        }
    ),
    "Edited": _object(
        {
            "order_id": TEXT,
            "currency": CURRENCY,
            "before": MINOR,
            "after": MINOR,
            "due": MINOR,
            "refund": MINOR,
            "client_secret": _or_null(TEXT),
        }
    ),
    "Return": _RETURN,
    "Returns": _object({"returns": _list(_RETURN)}),
    "ReturnScan": _object({"return_id": TEXT, "sku": TEXT, "grade": TEXT, "expected": COUNT, "received": COUNT}),
    "PutBack": _PUT_BACK,
    "PurchaseRequest": _PURCHASE,
    "PurchaseRequests": _object({"facility": TEXT, "requests": _list(_PURCHASE), "next_cursor": _or_null(TEXT)}),
    "PickUp": _PICK_UP,
    "PickUps": _object({"facility": TEXT, "pickups": _list(_PICK_UP), "next_cursor": _or_null(TEXT)}),
    "PutBacks": _object({"facility": TEXT, "putbacks": _list(_PUT_BACK), "next_cursor": _or_null(TEXT)}),
    "Walk": _object(
        {
            "walk_id": TEXT,
            "wave_id": _or_null(TEXT),
            "facility": TEXT,
            "method": _METHOD,
            "zone": _or_null(TEXT),
            "state": {"enum": ["open", "ending", "picked", "cancelling", "cancelled"]},
            "picker": _or_null(TEXT),
            "lease_until": _or_null(TIME),
            "at": _or_null(TEXT),
            "length_cm": COUNT,
            "units": COUNT,
            "picked": COUNT,
            "shipments": _list(_object({"shipment_id": TEXT, "slot": COUNT, "tote": _or_null(TEXT), "codes": TEXT})),
            "stops": _list(
                _object(
                    {
                        "bin": _or_null(TEXT),
                        "sku": TEXT,
                        "title": _or_null(TEXT),
                        "barcodes": _list(TEXT),
                        "quantity": COUNT,
                        "picked": COUNT,
                        "remaining": COUNT,
                        "into": _list(
                            _object({"slot": COUNT, "tote": _or_null(TEXT), "quantity": COUNT, "picked": COUNT})
                        ),
                    },
                    _LOT,
                )
            ),
            "put_back": _map(COUNT),
        },
        {"short": _list(TEXT)},
    ),
    "NextWalk": _object({"facility": TEXT, "walk": _or_null(_ref("Walk"))}),
    "WalkScan": _object(
        {
            "walk_id": TEXT,
            "at": _or_null(TEXT),
            "sku": _or_null(TEXT),
            "picked": _or_null(COUNT),
            "remaining": _or_null(COUNT),
            "walk_remaining": COUNT,
            "next": _or_null(_object({"bin": _or_null(TEXT), "sku": TEXT}, _LOT)),
        }
    ),
    "Wave": _object(
        {
            **_WAVE,
            "walks": _list(
                _object(
                    {
                        "walk_id": TEXT,
                        "method": _METHOD,
                        "zone": _or_null(TEXT),
                        "state": TEXT,
                        "picker": _or_null(TEXT),
                        "shipments": _list(TEXT),
                        "units": COUNT,
                        "remaining": COUNT,
                        "length_cm": COUNT,
                    }
                )
            ),
        }
    ),
    "Waves": _object({"facility": TEXT, "waves": _list(_object(_WAVE)), "next_cursor": _or_null(TEXT)}),
    "WavePreview": _object(
        {
            "facility": TEXT,
            "walks": _list(
                _object(
                    {
                        "method": _METHOD,
                        "shipments": _list(TEXT),
                        "units": COUNT,
                        "length_cm": COUNT,
                        "zones": _list(TEXT),
                        "cut_off": _or_null(TIME),
                    }
                )
            ),
            "not_yet": _list(TEXT),
            "units": COUNT,
            "length_cm": COUNT,
            "in_process": COUNT,
            "work_in_process": COUNT,
        }
    ),
    "Floor": _object(
        {"facility": TEXT, "layout": _or_null(ANY_OBJECT), "rules": ANY_OBJECT, "cartons": _list(ANY_OBJECT)}
    ),
    "Cartons": _object(
        {
            "shipment_id": TEXT,
            "cartons": _list(
                _object({"carton": TEXT, "inner_mm": _list(COUNT), "units": _map(COUNT), "weight_grams": COUNT})
            ),
            "left_out": _map(COUNT),
        }
    ),
    "Document": {"type": "string", "format": "binary"},
    "Completed": _object({"task_id": TEXT, "state": TEXT, "status": TEXT}),
}


PDF, ZPL = ("application/pdf",), ("application/zpl",)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: who may call it, what it takes, and what a good answer is."""

    route: str
    summary: str
    caller: str
    """``anyone``, ``order`` (its token, or staff), ``signed``, or the staff groups."""
    answer: str
    status: int = 200
    form: type[BaseModel] | None = None
    form_required: bool = True
    key: bool = False
    """Takes an ``Idempotency-Key``: required where it creates something."""
    query: tuple[str, ...] = ()
    patch: bool = False
    """Takes a JSON merge patch of what it answers."""
    problems: tuple[int, ...] = ()
    media: tuple[str, ...] = ("application/json",)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST /orders", "Place an order", "anyone", "Placement", 201, PlaceOrderForm, key=True, problems=(409, 413, 415)
    ),
    Operation(
        "POST /staff/orders",
        "Place an order by phone, or record what a till sold",
        "agent pos ops",
        "StaffPlacement",
        201,
        StaffOrderForm,
        key=True,
        problems=(409, 413, 415),
    ),
    Operation(
        "POST /staff/orders/{id}/payments",
        "Money that was taken for an order; a bank transfer is for ops",
        "agent pos ops",
        "Order",
        200,
        TenderForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "POST /staff/orders/{id}/hand-over",
        "Let leave the books what went over the counter, as far as they have it now; with found (ops), all of it",
        "agent pos ops",
        "Order",
        200,
        HandOverForm,
        form_required=False,
        problems=(409,),
    ),
    Operation("POST /staff/drafts", "Save a new draft", "agent pos ops", "Draft", 201, DraftForm, key=True),
    Operation(
        "GET /staff/drafts",
        "The open drafts of the caller or of an owner, the latest first",
        "agent pos ops",
        "Drafts",
        query=("owner", "cursor"),
    ),
    Operation("GET /staff/drafts/{id}", "A draft, priced as things stand", "agent pos ops", "Draft"),
    Operation(
        "PUT /staff/drafts/{id}",
        "Save a draft over the version in If-Match",
        "agent pos ops",
        "Draft",
        200,
        DraftForm,
        problems=(412,),
    ),
    Operation("DELETE /staff/drafts/{id}", "Throw a draft away", "agent pos ops", "DroppedDraft", problems=(412, 422)),
    Operation(
        "POST /staff/drafts/{id}/place",
        "Place a draft, which ends it",
        "agent pos ops",
        "StaffPlacement",
        201,
        PlaceDraftForm,
        key=True,
        problems=(409, 412),
    ),
    Operation(
        "GET /orders/{id}/receipt",
        "The receipt of an order; format=pdf gives the slip that a till prints",
        "order",
        "Receipt",
        query=("format",),
        problems=(409,),
    ),
    Operation("GET /orders/{id}", "Read an order", "order", "Order"),
    Operation("GET /orders/{id}/payment", "What a browser needs to pay", "order", "Payment", problems=(409,)),
    Operation(
        "POST /orders/{id}/cancel",
        "Cancel an order, or lines of it",
        "order",
        "Order",
        200,
        CancelOrderForm,
        form_required=False,
        problems=(409,),
    ),
    Operation(
        "GET /orders",
        "Orders, newest first",
        "agent warehouse ops pos",
        "OrderList",
        query=("customer", "status", "channel", "cursor"),
    ),
    Operation("GET /orders/{id}/actions", "What may be done, and what follows from it", "agent ops pos", "Actions"),
    Operation(
        "GET /reports/automation", "How many orders nobody touched", "agent ops", "Automation", query=("from", "to")
    ),
    Operation(
        "GET /orders/find",
        "Orders by anything that a caller can say",
        "agent ops pos",
        "OrdersFound",
        query=("q", "number", "email", "phone", "tracking", "name", "postcode", "last4", "date"),
    ),
    Operation(
        "POST /orders/{id}/messages",
        "What the customer writes",
        "order",
        "OwnMessage",
        201,
        MessageForm,
        key=True,
        problems=(409,),
    ),
    Operation("GET /work", "What waits for a person", "agent ops", "WorkList", query=("owner", "cursor")),
    Operation("GET /orders/{id}/timeline", "The whole story, proven", "agent ops pos warehouse", "Timeline"),
    Operation(
        "GET /orders/{id}/outlook", "What it waits for, and why it is late", "agent warehouse ops pos", "Outlook"
    ),
    Operation(
        "POST /orders/{id}/notes",
        "Keep what was said about an order",
        "agent ops pos",
        "Note",
        201,
        NoteForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/payment-link",
        "Send the customer the link by which they pay",
        "agent ops pos",
        "PaymentLink",
        202,
        key=True,
        problems=(409,),
    ),
    Operation("GET /orders/{id}/notes", "What was said about an order", "agent ops pos", "Notes"),
    Operation("POST /orders/{id}/holds", "Stop an order", "agent ops", "Order", 200, HoldForm, problems=(409,)),
    Operation(
        "DELETE /orders/{id}/holds/{kind}",
        "Let an order go on",
        "agent ops",
        "Order",
        200,
        ReleaseForm,
        problems=(409,),
    ),
    Operation("GET /orders/{id}/messages", "What the customer and vendors were told", "agent ops", "Messages"),
    Operation(
        "POST /orders/{id}/messages/{kind}/resend",
        "Send a message again",
        "agent ops",
        "Message",
        200,
        ResendForm,
        form_required=False,
        key=True,
        problems=(409,),
    ),
    Operation(
        "DELETE /orders/{id}/messages/{kind}/exception",
        "A message that did not arrive needs nobody any more",
        "agent ops",
        "Messages",
        200,
        SettleMailForm,
    ),
    Operation(
        "GET /customers",
        "Find customers as you type (beginnings of names, of an e-mail, a phone or a postcode), or list a segment's",
        "agent ops pos",
        "Customers",
        query=("q", "segment", "cursor"),
    ),
    Operation(
        "POST /campaigns/exports",
        "Export the people of a segment as a file, or the whole table for Athena",
        "ops",
        "CampaignExport",
        201,
        CampaignExportForm,
        key=True,
        problems=(404,),
    ),
    Operation("GET /campaigns/exports/{id}", "How far an export is, and its file", "ops", "CampaignExport"),
    Operation("PUT /segments/{name}", "Save a segment", "ops", "Segment", 200, SegmentForm, problems=(412, 422)),
    Operation("GET /segments/{name}", "A segment", "agent ops pos", "Segment"),
    Operation("DELETE /segments/{name}", "Forget a segment", "ops", "Deleted"),
    Operation("GET /segments", "The segments", "agent ops pos", "Segments", query=("cursor",)),
    Operation(
        "POST /segments/preview",
        "Count whom conditions choose, and show the first of them",
        "agent ops pos",
        "SegmentPreview",
        200,
        PreviewForm,
    ),
    Operation("GET /customers/{id}", "A customer over all channels", "agent ops pos", "Customer"),
    Operation("GET /customers/{id}/rewards", "What a customer has earned", "agent ops pos", "Rewards"),
    Operation("GET /rewards/rules", "Read the milestones", "agent ops pos", "RewardRules"),
    Operation(
        "PUT /rewards/rules", "Replace the milestones", "ops", "RewardRules", 200, RewardRulesForm, problems=(409,)
    ),
    Operation("GET /priority/rules", "Read the priority rules", "agent ops pos warehouse", "PriorityRules"),
    Operation(
        "PUT /priority/rules",
        "Replace the priority rules",
        "ops",
        "PriorityRules",
        200,
        PriorityRulesForm,
        problems=(409,),
    ),
    Operation(
        "POST /priority/rehearsals",
        "What priority rules would make of the last orders",
        "ops",
        "PriorityRehearsal",
        200,
        PriorityRehearsalForm,
    ),
    Operation("POST /coupons", "Make a coupon", "ops", "Coupon", 201, CouponForm, problems=(409,)),
    Operation("GET /coupons", "The merchant's coupons", "agent ops pos", "Coupons", query=("cursor",)),
    Operation("GET /coupons/{code}", "A coupon and its uses", "agent ops pos", "Coupon"),
    Operation(
        "PATCH /coupons/{code}",
        "Change a coupon's terms",
        "ops",
        "Coupon",
        200,
        CouponTermsForm,
        problems=(409, 412, 503),
    ),
    Operation(
        "GET /customers/{id}/orders",
        "A customer's orders through all channels, the newest first",
        "agent ops pos",
        "OrderList",
        query=("status", "channel", "cursor"),
    ),
    Operation(
        "PATCH /customers/{id}",
        "Write down what is known of a customer beside their orders",
        "agent ops",
        "Customer",
        200,
        ChangeCustomerForm,
        problems=(412,),
    ),
    Operation(
        "POST /customers/{id}/merges",
        "Two customers are one",
        "agent ops",
        "CustomerMerge",
        201,
        MergeForm,
        key=True,
        problems=(409,),
    ),
    Operation("DELETE /customers/{id}/merges/{merge}", "They are not", "agent ops", "CustomerMerge"),
    Operation(
        "GET /persons/demands",
        "What people demand of their data, or what was done in a month",
        "agent ops",
        "DemandList",
        query=("month", "cursor"),
    ),
    Operation(
        "GET /persons/demands/{id}",
        "How far a demand has come, and the link to an export",
        "agent ops",
        "DemandWithLink",
    ),
    Operation(
        "POST /persons/demands/{id}/close",
        "A demand was brought to its end",
        "ops",
        "Demand",
        200,
        CloseDemandForm,
        problems=(409,),
    ),
    Operation(
        "POST /persons/exports",
        "Ask for everything that is kept of a person",
        "agent ops",
        "Demand",
        202,
        AskForm,
        key=True,
    ),
    Operation(
        "POST /persons/erasures",
        "Ask for a person to be forgotten",
        "agent ops",
        "Demand",
        202,
        AskForm,
        key=True,
    ),
    Operation("PUT /persons/{id}/hold", "The law wants a person's data kept", "ops", "PersonHold", 200, HoldPersonForm),
    Operation(
        "PUT /orders/{id}/message-preferences",
        "Let an order's customer say what they do not want to hear of",
        "order",
        "MessagePreferences",
        200,
        MessagePreferencesForm,
        problems=(409,),
    ),
    Operation(
        "GET /customers/{id}/message-preferences",
        "What a customer does not want to hear of",
        "agent ops",
        "MessageWishes",
    ),
    Operation(
        "PUT /customers/{id}/message-preferences",
        "Say what a customer does not want to hear of",
        "agent ops",
        "MessagePreferences",
        200,
        MessagePreferencesForm,
    ),
    Operation(
        "POST /webhooks/subscriptions",
        "Subscribe a system to events",
        "ops",
        "SubscriptionWithSecret",
        201,
        SubscriptionForm,
        key=True,
    ),
    Operation("GET /webhooks/subscriptions", "Who is subscribed", "ops", "Subscriptions"),
    Operation("GET /webhooks/subscriptions/{id}", "A subscription, and how far it is", "ops", "Subscription"),
    Operation(
        "PATCH /webhooks/subscriptions/{id}",
        "Change, disable or enable a subscription",
        "ops",
        "Subscription",
        200,
        ChangeSubscriptionForm,
        problems=(409,),
    ),
    Operation("DELETE /webhooks/subscriptions/{id}", "End a subscription", "ops", "Deleted"),
    Operation(
        "POST /webhooks/subscriptions/{id}/secret",
        "A new signing secret",
        "ops",
        "SubscriptionWithSecret",
        200,
        RotateSecretForm,
        form_required=False,
        key=True,
        problems=(409,),
    ),
    Operation(
        "GET /webhooks/subscriptions/{id}/deliveries",
        "The log, newest first",
        "ops",
        "Deliveries",
        query=("cursor",),
    ),
    Operation(
        "POST /webhooks/subscriptions/{id}/replay",
        "Deliver again from a number on, or skip to one",
        "ops",
        "Replay",
        200,
        ReplayForm,
    ),
    Operation(
        "GET /orders/{id}/disputes/{dispute}/evidence", "A dispute and what speaks for us", "agent ops", "Dispute"
    ),
    Operation(
        "POST /orders/{id}/disputes/{dispute}/evidence",
        "Hand evidence in, for good",
        "agent ops",
        "Dispute",
        200,
        EvidenceForm,
        problems=(409,),
    ),
    Operation(
        "GET /payments/cases", "What disagrees about money", "ops", "PaymentCases", query=("kind", "status", "cursor")
    ),
    Operation("POST /payments/cases/{kind}/{case}/close", "Close a case", "ops", "PaymentCase", 200, CloseCaseForm),
    Operation(
        "GET /parcels/exceptions",
        "Parcels that need a person, the most urgent first",
        "agent ops warehouse",
        "ParcelExceptions",
        query=("cursor",),
    ),
    Operation(
        "DELETE /parcels/{id}/exception",
        "Say that a parcel needs nobody any more",
        "agent ops",
        "ParcelException",
        200,
        ReleaseForm,
    ),
    Operation("POST /webhooks/carriers/{carrier}", "A carrier tells where a parcel is", "signed", "Received"),
    Operation(
        "POST /orders/{id}/refunds",
        "Give money back without a return",
        "agent ops",
        "Credit",
        201,
        RefundForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/refunds/{refund}/retry",
        "Send a failed refund again",
        "agent ops",
        "Refunds",
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/refunds/{refund}/given-back",
        "Say that a person gave the money back",
        "agent ops",
        "Refunds",
        200,
        GivenBackForm,
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/refunds/{refund}/withdraw",
        "Say that the money is not owed after all",
        "ops",
        "Refunds",
        200,
        WithdrawForm,
        problems=(409,),
    ),
    Operation("GET /orders/{id}/refunds", "Refunds and where each stands", "agent ops", "Refunds"),
    Operation(
        "POST /orders/{id}/returns", "Ask for a return", "order", "Return", 201, ReturnForm, key=True, problems=(409,)
    ),
    Operation("GET /orders/{id}/returns", "An order's returns", "order", "Returns"),
    Operation(
        "POST /orders/{id}/returns/{number}/decision",
        "Approve, reject, cancel or close a return, or say that it is on its way",
        "order",
        "Return",
        200,
        ReturnDecisionForm,
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/returns/{number}/label",
        "The label of an approved return",
        "order",
        "Return",
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/edits/preview",
        "What an edit would cost and take",
        "order",
        "EditPreview",
        200,
        EditForm,
        problems=(409,),
    ),
    Operation(
        "POST /orders/{id}/edits",
        "Carry out what was previewed",
        "order",
        "Edited",
        200,
        ConfirmEditForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "PATCH /orders/{id}/address",
        "Send what has not left to another address",
        "order",
        "Order",
        200,
        AddressForm,
        problems=(409,),
    ),
    Operation(
        "GET /holds",
        "Open holds of a kind, by owner and deadline",
        "agent ops pos warehouse",
        "OpenHolds",
        query=("kind", "owner", "cursor"),
    ),
    Operation(
        "POST /warehouse/returns/{id}/scans",
        "Take returned units back as they were found",
        "warehouse",
        "ReturnScan",
        200,
        ReturnScanForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "POST /warehouse/returns/{id}/complete",
        "End a return's inspection and settle it",
        "warehouse",
        "Return",
        problems=(409,),
    ),
    Operation("POST /webhooks/stripe", "Stripe tells of a payment", "signed", "Received"),
    Operation(
        "POST /channels/{channel}/callbacks", "A marketplace tells of an order", "signed", "Received", problems=(412,)
    ),
    Operation("GET /channels/{channel}/callbacks", "A marketplace checks the endpoint", "signed", "Received"),
    Operation(
        "PUT /products/{sku}", "Create or replace a product", "ops", "Product", 200, ProductForm, problems=(409, 412)
    ),
    Operation(
        "PATCH /products/{sku}",
        "Change what a JSON merge patch names; null removes",
        "ops",
        "Product",
        patch=True,
        problems=(409, 412, 422),
    ),
    Operation(
        "GET /products",
        "Find products: beginnings of title words (q) and of SKUs, barcode, vendor and its SKU, spec=name:value",
        "agent ops pos warehouse",
        "Products",
        query=("q", "sku", "barcode", "vendor", "vendor_sku", "spec", "archived", "limit", "cursor"),
    ),
    Operation("GET /products/{sku}", "Read a product", "agent ops pos warehouse", "Product"),
    Operation(
        "POST /products/imports",
        "Import products: a small file as the body, or a link to upload a large one",
        "ops",
        "CatalogueJob",
        201,
        JobForm,
        key=True,
        problems=(409, 413, 415),
    ),
    Operation(
        "POST /products/imports/{id}/start", "The file has been uploaded", "ops", "CatalogueJob", problems=(409,)
    ),
    Operation("POST /products/imports/{id}/cancel", "Stop an import", "ops", "CatalogueJob"),
    Operation("GET /products/imports/{id}", "How far an import is, and its errors", "ops", "CatalogueJob"),
    Operation(
        "POST /products/exports",
        "Export all products",
        "ops",
        "CatalogueJob",
        201,
        JobForm,
        form_required=False,
        key=True,
        problems=(409,),
    ),
    Operation("GET /products/exports/{id}", "How far an export is, and its file", "ops", "CatalogueJob"),
    Operation("GET /stock/{sku}", "What is where, and what channels show", "agent ops pos warehouse", "Stock"),
    Operation("GET /channels", "How every channel stands", "agent ops", "Channels"),
    Operation(
        "POST /stock/movements",
        "Receive, adjust, count, set apart, release, scrap or put away",
        "ops warehouse",
        "Movement",
        201,
        MovementForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "PUT /stock/{sku}/listings/{channel}",
        "List on a channel, or change the terms",
        "ops",
        "Listing",
        200,
        ListingForm,
        form_required=False,
    ),
    Operation("PUT /facilities/{facility}", "Where parcels come from", "ops", "Facility", 200, FacilityForm),
    Operation(
        "GET /alerts/stock", "What runs low or is oversold", "agent ops pos warehouse", "StockAlerts", query=("cursor",)
    ),
    Operation(
        "GET /stock/{sku}/lots/{lot}",
        "Where a lot is and which orders got it",
        "agent ops pos warehouse",
        "Lot",
        query=("cursor",),
    ),
    Operation(
        "GET /explain/stock/{sku}",
        "Why this number",
        "agent ops pos warehouse",
        "Explanation",
        query=("channel",),
        problems=(409,),
    ),
    Operation(
        "PUT /stock/{sku}/supplies/{supply}", "What is on its way or at a vendor", "ops", "Supply", 200, SupplyForm
    ),
    Operation(
        "POST /transfers",
        "Send units to another facility",
        "ops warehouse",
        "Transfer",
        201,
        TransferForm,
        key=True,
        problems=(404, 409),
    ),
    Operation("GET /transfers", "What is in transit", "agent ops pos warehouse", "Transfers", query=("cursor",)),
    Operation("GET /transfers/{id}", "A transfer", "agent ops pos warehouse", "Transfer"),
    Operation(
        "POST /transfers/{id}/receipt",
        "Take in what arrived",
        "ops warehouse",
        "Transfer",
        201,
        TransferReceiptForm,
        key=True,
        problems=(409,),
    ),
    Operation("POST /counts", "Have a bin counted", "ops", "StockCount", 201, CountForm, key=True, problems=(404, 409)),
    Operation("GET /counts", "What is to be counted", "ops warehouse", "StockCounts", query=("facility", "cursor")),
    Operation("GET /counts/{id}", "What to count, blind", "ops warehouse", "StockCount"),
    Operation(
        "POST /counts/{id}/results",
        "What was counted",
        "ops warehouse",
        "StockCount",
        201,
        CountResultForm,
        key=True,
        problems=(409,),
    ),
    Operation("GET /counts/{id}/variance", "What a count found", "ops", "Variance", problems=(409,)),
    Operation(
        "POST /purchases", "Order from a vendor", "ops", "Purchase", 201, PurchaseForm, key=True, problems=(404, 409)
    ),
    Operation("GET /purchases", "What is ordered", "agent ops pos warehouse", "Purchases", query=("cursor",)),
    Operation("GET /purchases/{id}", "A purchase", "agent ops pos warehouse", "Purchase"),
    Operation(
        "POST /purchases/{id}/receipts",
        "Take in units of a purchase",
        "ops warehouse",
        "Purchase",
        201,
        ReceiptForm,
        key=True,
        problems=(409,),
    ),
    Operation(
        "POST /purchases/{id}/close",
        "Expect nothing more",
        "ops",
        "Purchase",
        201,
        CloseForm,
        key=True,
        problems=(409,),
    ),
    Operation("GET /facilities/{facility}", "Read a facility", "agent ops pos warehouse", "Facility"),
    Operation("GET /facilities", "All facilities", "agent ops pos warehouse", "Facilities"),
    Operation(
        "POST /facilities/{facility}/close",
        "End the day: manifests, and what is late",
        "ops warehouse",
        "DayClosed",
        problems=(409,),
    ),
    Operation("GET /facilities/{facility}/manifests", "The latest manifests", "agent ops pos warehouse", "Manifests"),
    Operation(
        "GET /vendors/{facility}/requests",
        "What a vendor was asked to send",
        "agent ops pos warehouse",
        "PurchaseRequests",
        query=("cursor",),
    ),
    Operation(
        "POST /vendors/requests/{id}/confirm",
        "A vendor sends a parcel",
        "ops warehouse",
        "PurchaseRequest",
        200,
        LabelForm,
        problems=(409,),
    ),
    Operation(
        "POST /vendors/requests/{id}/decline",
        "A vendor does not send a parcel",
        "ops warehouse",
        "PurchaseRequest",
        200,
        DeclineForm,
        problems=(409,),
    ),
    Operation(
        "PUT /parcels/{id}/label",
        "Label a parcel by hand",
        "ops warehouse",
        "ParcelLabel",
        200,
        LabelForm,
        problems=(409,),
    ),
    Operation("GET /routing/rules", "Read the routing rules", "agent ops pos warehouse", "RoutingRules"),
    Operation(
        "PUT /routing/rules", "Replace the routing rules", "ops", "RoutingRules", 200, RoutingRulesForm, problems=(409,)
    ),
    Operation("POST /routing/dry-runs", "What rules would do to the last orders", "ops", "DryRun", 200, DryRunForm),
    Operation("PUT /facilities/{facility}/zones/{zone}", "The bins of a part of it", "ops", "Zone", 200, ZoneForm),
    Operation("GET /facilities/{facility}/zones", "Its zones", "agent ops pos warehouse", "Zones"),
    Operation(
        "GET /warehouse/{facility}/work",
        "Open tasks, the most urgent first",
        "warehouse",
        "Work",
        query=("kind", "cursor"),
    ),
    Operation("POST /warehouse/tasks/{id}/start", "Begin a task", "warehouse", "Task", problems=(409,)),
    Operation(
        "POST /warehouse/tasks/{id}/scans", "Scan an item", "warehouse", "ScanResult", 200, ScanForm, problems=(409,)
    ),
    Operation(
        "POST /warehouse/tasks/{id}/short",
        "Report missing units",
        "warehouse",
        "ShortResult",
        200,
        ShortForm,
        problems=(409,),
    ),
    Operation(
        "POST /warehouse/tasks/{id}/complete",
        "Finish a task",
        "warehouse",
        "Completed",
        200,
        CompleteForm,
        form_required=False,
        problems=(409,),
    ),
    Operation(
        "GET /warehouse/{facility}/putbacks",
        "Picked units that belong on their shelf again",
        "warehouse",
        "PutBacks",
        query=("cursor",),
    ),
    Operation(
        "POST /warehouse/putbacks/{id}/done",
        "The units lie on their shelf again",
        "warehouse",
        "PutBack",
        200,
        PutBackForm,
        form_required=False,
    ),
    Operation(
        "GET /warehouse/{facility}/pickups",
        "Parcels that wait to be collected",
        "pos warehouse",
        "PickUps",
        query=("cursor",),
    ),
    Operation(
        "POST /warehouse/pickups/{id}/collect",
        "Hand a parcel to its customer",
        "pos warehouse",
        "PickUp",
        200,
        CollectForm,
        problems=(409,),
    ),
    Operation(
        "POST /warehouse/{facility}/next", "The picker's next walk", "warehouse", "NextWalk", problems=(409, 422)
    ),
    Operation("GET /warehouse/walks/{id}", "A pick list", "warehouse", "Walk"),
    Operation("POST /warehouse/walks/{id}/start", "Take a certain walk", "warehouse", "Walk", problems=(409,)),
    Operation(
        "POST /warehouse/walks/{id}/scans",
        "Scan a bin, an item or a tote",
        "warehouse",
        "WalkScan",
        200,
        WalkScanForm,
        problems=(409,),
    ),
    Operation(
        "POST /warehouse/walks/{id}/short",
        "Report units that are not in their bin",
        "warehouse",
        "Walk",
        200,
        WalkShortForm,
        problems=(409,),
    ),
    Operation(
        "POST /warehouse/walks/{id}/skip",
        "Leave a bin for the end",
        "warehouse",
        "Walk",
        200,
        SkipForm,
        problems=(409,),
    ),
    Operation("POST /warehouse/walks/{id}/hand-over", "Give a walk up as it is", "warehouse", "Walk", problems=(409,)),
    Operation("POST /warehouse/walks/{id}/complete", "Finish a walk", "warehouse", "Walk", problems=(409,)),
    Operation(
        "POST /warehouse/{facility}/waves/preview",
        "What a wave would be",
        "ops warehouse",
        "WavePreview",
        200,
        WaveForm,
        form_required=False,
    ),
    Operation(
        "POST /warehouse/{facility}/waves",
        "Release work to the floor",
        "ops warehouse",
        "Wave",
        201,
        WaveForm,
        form_required=False,
        key=True,
        problems=(409,),
    ),
    Operation(
        "GET /warehouse/{facility}/waves", "Waves, the newest first", "ops warehouse", "Waves", query=("cursor",)
    ),
    Operation("GET /warehouse/waves/{id}", "A wave and its walks", "ops warehouse", "Wave"),
    Operation(
        "POST /warehouse/waves/{id}/cancel", "Take back what nobody has begun", "ops warehouse", "Wave", problems=(409,)
    ),
    Operation("GET /warehouse/shipments/{id}/cartons", "Cartons for a parcel", "warehouse", "Cartons"),
    Operation(
        "GET /warehouse/shipments/{id}/packing-slip", "What lies in a parcel", "warehouse", "Document", media=PDF
    ),
    Operation(
        "GET /warehouse/shipments/{id}/label",
        "The house's own label of a parcel",
        "warehouse",
        "Document",
        query=("format",),
        media=(*PDF, *ZPL),
    ),
    Operation("GET /warehouse/walks/{id}/pick-list", "A walk on paper", "warehouse", "Document", media=PDF),
    Operation(
        "POST /warehouse/{facility}/labels",
        "Labels for bins or totes",
        "warehouse",
        "Document",
        200,
        LabelsForm,
        media=(*PDF, *ZPL),
    ),
    Operation(
        "GET /warehouse/{facility}/floor", "Layout, rules and cartons", "ops warehouse", "Floor", problems=(422,)
    ),
    Operation("PUT /warehouse/{facility}/layout", "Where aisles, zones and bins are", "ops", "Floor", 200, LayoutForm),
    Operation("PUT /warehouse/{facility}/rules", "How work is released", "ops", "Floor", 200, RulesForm),
    Operation("PUT /warehouse/{facility}/cartons", "The carton catalogue", "ops", "Floor", 200, CartonsForm),
)


def document() -> Schema:
    """The whole OpenAPI 3.1 document."""
    forms = [(operation.form, "validation") for operation in OPERATIONS if operation.form]
    _, definitions = models_json_schema(forms, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        method, path = operation.route.split(" ")
        paths.setdefault(path, {})[method.lower()] = _spell(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Order management",
            "version": "1",
            "description": "JSON; money in minor units; times RFC 3339 UTC; errors RFC 9457 problem+json.",
        },
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), **ANSWERS},
            "securitySchemes": {
                "staff": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "orderToken": {"type": "apiKey", "in": "header", "name": "Order-Token"},
            },
        },
    }


def _spell(operation: Operation) -> Schema:
    spelled: Schema = {
        "summary": operation.summary,
        "operationId": operation.route.replace("/", "_").replace(" ", "").replace("{", "").replace("}", "").lower(),
        "parameters": list(_parameters(operation)),
        "responses": {
            str(operation.status): {
                "description": "done",
                "content": {media: {"schema": _ref(operation.answer)} for media in operation.media},
            },
            **{str(status): _problem() for status in _problems(operation)},
        },
    }
    if operation.caller == "order":
        spelled["security"] = [{"orderToken": []}, {"staff": []}]
    elif operation.caller not in ("anyone", "signed"):
        spelled["security"] = [{"staff": []}]
        spelled["description"] = f"Staff in one of the groups: {', '.join(operation.caller.split())}."
    if operation.form:
        spelled["requestBody"] = {
            "required": operation.form_required,
            "content": {"application/json": {"schema": _ref(operation.form.__name__)}},
        }
    if operation.patch:
        spelled["requestBody"] = {
            "required": True,
            "content": {"application/merge-patch+json": {"schema": ANY_OBJECT}},
        }
    return spelled


def _problems(operation: Operation) -> list[int]:
    statuses = {400, 500, 503, *operation.problems}
    if operation.form or operation.query:
        statuses.add(422)
    if "{" in operation.route:
        statuses.add(404)
    if operation.caller not in ("anyone", "signed"):
        statuses |= {401, 403}
    return sorted(statuses)


def _problem() -> Schema:
    return {"description": "a problem", "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _parameters(operation: Operation) -> Iterator[Schema]:
    for part in operation.route.split("{")[1:]:
        yield {"name": part.split("}")[0], "in": "path", "required": True, "schema": TEXT}
    for name in operation.query:
        yield {"name": name, "in": "query", "required": False, "schema": TEXT}
    if operation.key:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "minLength": 8, "maxLength": 128},
            "description": "new for each new request, the same for every repeat of it",
        }


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    TARGET.write_text(text())
    print(f"{TARGET.name}: {len(OPERATIONS)} operations")


if __name__ == "__main__":
    main()
