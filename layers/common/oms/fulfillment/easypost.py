"""Labels through EasyPost: rates and one label per shipment, in our units."""

from __future__ import annotations

import base64
import json
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

from oms.fulfillment.carrier import Address, CarrierRefused, CarrierUnavailable, Label, Parcel, Quote, Rate
from oms.runtime.outbound import HttpRequest, Transport, Unreachable

TIMEOUT_SECONDS = 25.0
"""Buying waits for the carrier behind EasyPost, which may take its time."""

_GRAMS_PER_OUNCE = Decimal("28.349523125")
_MILLIMETRES_PER_INCH = Decimal("25.4")
_TENTH = Decimal("0.1")
_NO_MINOR_UNIT = {"CLP", "ISK", "JPY", "KRW", "VND"}
_MILLS = {"BHD", "JOD", "KWD", "OMR", "TND"}


class EasyPostCarrier:
    """``Carrier`` on EasyPost's API v2."""

    def __init__(self, api_key: str, *, api_base: str, transport: Transport, label_format: str = "PDF") -> None:
        self._authorization = "Basic " + base64.b64encode(f"{api_key}:".encode()).decode()
        self._base = api_base.rstrip("/") + "/v2"
        self._transport = transport
        self._label_format = label_format

    def quote(self, reference: str, origin: Address, destination: Address, parcel: Parcel) -> Quote:
        """Make the shipment under our ``reference`` and read its rates; none at all is a refusal."""
        shipment = {
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


def _minor_units(amount: str, currency: str) -> int:
    digits = 0 if currency in _NO_MINOR_UNIT else 3 if currency in _MILLS else 2
    return int(Decimal(amount).scaleb(digits).quantize(Decimal(1), ROUND_HALF_UP))


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
