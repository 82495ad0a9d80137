"""The environment as one model, read once and lazily: importing a module needs no environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields


class SettingsInvalid(Exception):
    """The environment lacks something this function needs, or holds it in the wrong shape."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a function may need; each function's template entry sets only what it uses."""

    orders_table: str = ""
    inventory_table: str = ""
    stage: str = "local"
    unpaid_expiry_seconds: int = 1800
    order_token_days: int = 90
    capture_mode: str = "automatic"
    lapsing_authorizations: str = "capture"
    fraud_action: str = "hold"
    unmatched_refund_hours: int = 48
    state_machine_arn: str = ""
    payment_work_queue_url: str = ""
    payment_events_queue_url: str = ""
    channel_events_queue_url: str = ""
    shipment_confirm_queue_url: str = ""
    channel_queue_urls: Mapping[str, str] = field(default_factory=dict)
    stripe_api_base: str = "https://api.stripe.com"
    etsy_api_base: str = "https://openapi.etsy.com"
    ebay_api_base: str = "https://api.ebay.com"
    shopify_api_base: str = ""
    amazon_api_base: str = "https://sellingpartnerapi-na.amazon.com"
    webhook_api_base: str = ""
    etsy_oauth_base: str = "https://api.etsy.com"
    ebay_oauth_base: str = "https://api.ebay.com"
    amazon_oauth_base: str = "https://api.amazon.com"
    carrier_api_base: str = "https://api.easypost.com"
    stripe_secret_id: str = ""
    order_token_secret_id: str = ""
    etsy_secret_id: str = ""
    ebay_secret_id: str = ""
    shopify_secret_id: str = ""
    amazon_secret_id: str = ""
    webhook_secret_id: str = ""
    carrier_secret_id: str = ""
    files_bucket: str = ""
    catalogue_jobs_queue_url: str = ""
    import_rows_at_once: int = 4
    channel: str = ""
    messages_queue_url: str = ""
    public_events_queue_url: str = ""
    deliveries_queue_url: str = ""
    customers_queue_url: str = ""
    campaign_exports_queue_url: str = ""
    orders_table_arn: str = ""
    sealing_secret_id: str = ""
    mail_from: str = ""
    mails_are_sent: str = ""
    """Not empty where customers are told by mail: for those who offer it and send none themselves."""
    mail_reply_to: str = ""
    mail_configuration_set: str = ""
    mail_language: str = "en"
    merchant_name: str = ""
    merchant_colour: str = "#1f4f8b"
    merchant_logo_url: str = ""
    merchant_order_url: str = ""
    merchant_pay_url: str = ""
    merchant_zone: str = "UTC"
    merchant_tax_id: str = ""
    payment_link_hours: int = 24
    staff_limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    agent_refund_limit: int = 10_000
    personal_data_years: int = 10
    return_window_days: int = 30
    return_send_days: int = 14
    return_restocking_percent: int = 0
    return_damaged_percent: int = 100
    return_label_paid_by: str = "customer"
    return_approval: str = "policy"
    staff_issuer: str = ""
    staff_jwks_url: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``UPPER_CASE`` variables. Raises ``SettingsInvalid`` naming the variable that cannot be read."""
        source = os.environ if environment is None else environment
        values: dict[str, object] = {}
        for spec in fields(cls):
            variable = spec.name.upper()
            if variable not in source:
                continue
            text = source[variable]
            try:
                if spec.type == "int":
                    values[spec.name] = int(text)
                elif str(spec.type).startswith("Mapping["):
                    values[spec.name] = json.loads(text)
                else:
                    values[spec.name] = text
            except ValueError as error:
                raise SettingsInvalid(f"{variable} cannot be read: {error}") from error
        return cls(**values)  # type: ignore[arg-type]

    def require(self, name: str) -> str:
        """A text setting that this function cannot do without."""
        value = getattr(self, name)
        if not value:
            raise SettingsInvalid(f"{name.upper()} is not set")
        return str(value)
