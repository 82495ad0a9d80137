"""Stand-ins for Stripe, the marketplaces and the carriers, built to their published contracts."""
