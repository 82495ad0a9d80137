"""What staff are shown of people."""

from __future__ import annotations

from typing import Any

from oms.customers.people import Profile


def profile_view(profile: Profile) -> dict[str, Any]:
    """A person with their figures."""
    return {
        "customer_id": profile.person_id,
        "identities": list(profile.identities),
        "name": profile.name,
        "email": profile.email or None,
        "phone": profile.phone or None,
        "addresses": [dict(address) for address in profile.addresses],
        "orders": profile.orders,
        "cancelled_orders": profile.cancelled,
        "units": profile.units,
        "spent": dict(profile.spent),
        "channels": dict(profile.channels),
        "countries": dict(profile.countries),
        "payment_methods": dict(profile.methods),
        "first_order_at": profile.first_order_at or None,
        "last_order_at": profile.last_order_at or None,
        "marketing": profile.marketing,
        "version": profile.version,
    }
