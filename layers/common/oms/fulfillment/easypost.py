"""Labels through EasyPost: rates, one label per shipment, manifests and tracking, in our units and words."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

from oms.fulfillment.carrier import (
    Address,
    CarrierRefused,
    CarrierUnavailable,
    Customs,
    CustomsItem,
    Label,
    Manifest,
    Parcel,
    Quote,
    Rate,
    Sighting,
    TrackingStatus,
)
from oms.runtime.outbound import HttpRequest, Transport, Unreachable

TIMEOUT_SECONDS = 25.0
"""Buying waits for the carrier behind EasyPost, which may take its time."""

_GRAMS_PER_OUNCE = Decimal("28.349523125")
_MILLIMETRES_PER_INCH = Decimal("25.4")
_TENTH = Decimal("0.1")
_NO_MINOR_UNIT = {"CLP", "ISK", "JPY", "KRW", "VND"}
_MILLS = {"BHD", "JOD", "KWD", "OMR", "TND"}

_STATUSES = {
    "unknown": TrackingStatus.UNKNOWN,
    "pre_transit": TrackingStatus.LABEL_CREATED,
    "in_transit": TrackingStatus.IN_TRANSIT,
    "out_for_delivery": TrackingStatus.OUT_FOR_DELIVERY,
    "available_for_pickup": TrackingStatus.AVAILABLE_FOR_PICKUP,
    "delivered": TrackingStatus.DELIVERED,
    "return_to_sender": TrackingStatus.RETURNED,
    "failure": TrackingStatus.EXCEPTION,
    "error": TrackingStatus.EXCEPTION,
    "cancelled": TrackingStatus.EXCEPTION,
}
_TROUBLE_ON_THE_WAY = {
    "delivery_exception": TrackingStatus.ATTEMPT_FAILED,
    "refused": TrackingStatus.EXCEPTION,
    "lost": TrackingStatus.EXCEPTION,
    "damaged": TrackingStatus.EXCEPTION,
    "address_correction": TrackingStatus.EXCEPTION,
}
"""Details of a parcel in transit with which it needs a person."""


class SignatureInvalid(Exception):
    """A webhook that EasyPost did not sign with any of our secrets."""


class EasyPostCarrier:
    """``Carrier`` on EasyPost's API v2."""

    def __init__(self, api_key: str, *, api_base: str, transport: Transport, label_format: str = "PDF") -> None:
        self._authorization = "Basic " + base64.b64encode(f"{api_key}:".encode()).decode()
        self._base = api_base.rstrip("/") + "/v2"
        self._transport = transport
        self._label_format = label_format

    def quote(
        self,
        reference: str,
        origin: Address,
        destination: Address,
        parcel: Parcel,
        *,
        customs: Customs | None = None,
        is_return: bool = False,
    ) -> Quote:
        """Make the shipment under our ``reference`` and read its rates; none at all is a refusal. For a return
        EasyPost changes the two addresses itself."""
        shipment: dict[str, Any] = {
            "reference": reference,
            "from_address": _address(origin),
            "to_address": _address(destination),
            "parcel": {
                "weight": _tenths(parcel.weight_grams, _GRAMS_PER_OUNCE),
                "length": _tenths(parcel.length_mm, _MILLIMETRES_PER_INCH),
                "width": _tenths(parcel.width_mm, _MILLIMETRES_PER_INCH),
                "height": _tenths(parcel.height_mm, _MILLIMETRES_PER_INCH),
            },
            "options": {"label_format": self._label_format},
        }
        if customs:
            shipment["customs_info"] = _customs(customs)
        if is_return:
            shipment["is_return"] = True
        answer = self._call("POST", "/shipments", {"shipment": shipment})
        if not answer["rates"]:
            raise CarrierRefused("; ".join(told["message"] for told in answer["messages"]) or "no rates")
        return _quote(answer)

    def find(self, carrier_shipment_id: str) -> Quote:
        """The shipment as EasyPost shows it now, with its label if one was bought."""
        return _quote(self._call("GET", f"/shipments/{carrier_shipment_id}"))

    def buy(self, carrier_shipment_id: str, rate_id: str) -> Label:
        """Buy the label; a shipment that has one already answers with that one."""
        try:
            answer = self._call("POST", f"/shipments/{carrier_shipment_id}/buy", {"rate": {"id": rate_id}})
        except _Refused as refusal:
            if refusal.code != "SHIPMENT.POSTAGE.EXISTS":
                raise
            answer = self._call("GET", f"/shipments/{carrier_shipment_id}")
        label = _label(answer)
        if label is None:
            raise CarrierUnavailable(f"{carrier_shipment_id} was bought and shows no label yet.")
        return label

    def void(self, carrier_shipment_id: str) -> None:
        """Ask the money for an unused label back; repeating is harmless."""
        try:
            self._call("POST", f"/shipments/{carrier_shipment_id}/refund", {})
        except _Refused:
            shipment = self._call("GET", f"/shipments/{carrier_shipment_id}")
            if shipment["postage_label"] and not shipment["refund_status"]:
                raise

    def sighting(self, tracker_id: str) -> Sighting:
        """Where the parcel is now."""
        return read_tracker(self._call("GET", f"/trackers/{tracker_id}"))

    def manifest(self, carrier_shipment_ids: Sequence[str]) -> Manifest:
        """A scan form; the one that a shipment is on already is answered again."""
        named = [{"id": shipment_id} for shipment_id in carrier_shipment_ids]
        try:
            form = self._call("POST", "/scan_forms", {"scan_form": {"shipments": named}})
        except _Refused:
            # Whether our own earlier request had its effect is seen on the parcels.
            form = self._call("GET", f"/shipments/{carrier_shipment_ids[0]}")["scan_form"]
            if not form:
                raise
        if form["status"] != "created" or not form["form_url"]:
            raise CarrierUnavailable(f"scan form {form['id']} is {form['status']}.")
        return Manifest(form["id"], form["form_url"], tuple(form["tracking_codes"]))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"authorization": self._authorization, "accept": "application/json"}
        content = b""
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body).encode()
        try:
            answer = self._transport(HttpRequest(method, self._base + path, headers, content), timeout=TIMEOUT_SECONDS)
        except Unreachable as error:
            raise CarrierUnavailable("EasyPost did not answer.") from error
        # A refused key (401, 403) is for operators to mend; it says nothing about this parcel.
        if answer.status >= 500 or answer.status in {401, 403, 408, 409, 429}:
            raise CarrierUnavailable(f"EasyPost answered HTTP {answer.status}.")
        try:
            told = answer.json()
        except ValueError as error:
            raise CarrierUnavailable("EasyPost's answer is not JSON.") from error
        if not isinstance(told, dict):
            raise CarrierUnavailable("EasyPost's answer is no object.")
        if answer.status >= 400:
            raise _Refused(told.get("error") or {})
        return told


class _Refused(CarrierRefused):
    """EasyPost's error: a code, a message, and details that are objects or plain strings."""

    def __init__(self, error: dict[str, Any]) -> None:
        details = [
            f"{detail.get('field', '')} {detail.get('message', '')}".strip()
            if isinstance(detail, dict)
            else str(detail)
            for detail in error.get("errors") or []
        ]
        super().__init__("; ".join([str(error.get("message", "")), *details]))
        self.code = error.get("code", "")


def verify(body: bytes, signature: str, secrets: Sequence[str]) -> None:
    """Raises ``SignatureInvalid`` unless one of the secrets signed these very bytes. A secret becomes a key in its
    decomposed form, as EasyPost makes it."""
    for secret in secrets:
        key = unicodedata.normalize("NFKD", secret).encode()
        expected = "hmac-sha256-hex=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        if secret and hmac.compare_digest(expected.encode(), signature.encode()):
            return
    raise SignatureInvalid("the signature does not hold")


def read_tracker(tracker: Mapping[str, Any]) -> Sighting:
    """A tracker in our words. Its time is that of its latest scan: a tracker is also touched when nothing happened."""
    told = str(tracker.get("status") or "unknown")
    detail = str(tracker.get("status_detail") or "")
    status = _STATUSES.get(told, TrackingStatus.UNKNOWN)
    if status is TrackingStatus.IN_TRANSIT:
        status = _TROUBLE_ON_THE_WAY.get(detail, status)
    scans = [str(scan["datetime"]) for scan in tracker.get("tracking_details") or [] if scan.get("datetime")]
    return Sighting(
        tracker_id=tracker["id"],
        tracking_number=str(tracker.get("tracking_code") or ""),
        status=status,
        detail=detail,
        at=max(scans, default=str(tracker["updated_at"])),
    )


def _customs(customs: Customs) -> dict[str, Any]:
    return {
        "contents_type": "merchandise",
        "contents_explanation": "",
        "customs_certify": True,
        "customs_signer": customs.signer,
        "eel_pfc": "NOEEI 30.37(a)",
        "non_delivery_option": "return",
        "restriction_type": "none",
        "customs_items": [_customs_item(item) for item in customs.items],
    }


def _customs_item(item: CustomsItem) -> dict[str, Any]:
    """Value and weight are for the whole line; only the wire has the value as a number."""
    told: dict[str, Any] = {
        "description": item.description,
        "quantity": item.quantity,
        "value": float(_major_units(item.value, item.currency)),
        "currency": item.currency,
        "weight": _tenths(item.weight_grams, _GRAMS_PER_OUNCE),
        "origin_country": item.origin_country,
    }
    if item.hs_code:
        told["hs_tariff_number"] = item.hs_code
    return told


def _address(address: Address) -> dict[str, str]:
    fields = {
        "name": address.name,
        "street1": address.line1,
        "street2": address.line2,
        "city": address.city,
        "state": address.region,
        "zip": address.postal_code,
        "country": address.country,
        "phone": address.phone,
        "email": address.email,
    }
    return {name: value for name, value in fields.items() if value}


def _tenths(value: int, divisor: Decimal) -> float:
    """Converted and rounded up to a tenth: a parcel declared too light or small costs a surcharge."""
    return float((Decimal(value) / divisor).quantize(_TENTH, ROUND_UP))


def _digits(currency: str) -> int:
    return 0 if currency in _NO_MINOR_UNIT else 3 if currency in _MILLS else 2


def _minor_units(amount: str, currency: str) -> int:
    return int(Decimal(amount).scaleb(_digits(currency)).quantize(Decimal(1), ROUND_HALF_UP))


def _major_units(amount: int, currency: str) -> Decimal:
    return Decimal(amount).scaleb(-_digits(currency))


def _quote(shipment: dict[str, Any]) -> Quote:
    rates = tuple(
        Rate(
            id=rate["id"],
            carrier=rate["carrier"],
            service=rate["service"],
            amount=_minor_units(rate["rate"], rate["currency"]),
            currency=rate["currency"],
            delivery_days=rate["delivery_days"],
        )
        for rate in shipment["rates"]
    )
    return Quote(shipment["id"], rates, _label(shipment))


def _label(shipment: dict[str, Any]) -> Label | None:
    label, rate = shipment["postage_label"], shipment["selected_rate"]
    if not label or not rate:
        return None
    return Label(
        carrier_shipment_id=shipment["id"],
        carrier=rate["carrier"],
        service=rate["service"],
        tracking_number=shipment["tracking_code"],
        tracker_id=shipment["tracker"]["id"],
        label_url=label["label_url"],
        amount=_minor_units(rate["rate"], rate["currency"]),
        currency=rate["currency"],
    )
