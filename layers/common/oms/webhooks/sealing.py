"""Secrets of subscriptions, encrypted where they lie: AES-GCM under a key that only Secrets Manager holds."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass


class CannotOpen(Exception):
    """None of the keys opens it."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """``keys`` are the sealing keys as they are now, the newest first; older ones only open."""

    keys: Callable[[], Sequence[str]]

    def seal(self, secret: str, whose: str) -> bytes:
        """``whose`` is bound to the result: it opens for nobody else."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        return nonce + AESGCM(_key(self.keys()[0])).encrypt(nonce, secret.encode(), whose.encode())

    def open(self, sealed: bytes, whose: str) -> str:
        """The secret. Raises ``CannotOpen``."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        for key in self.keys():
            try:
                return AESGCM(_key(key)).decrypt(sealed[:12], sealed[12:], whose.encode()).decode()
            except InvalidTag:
                continue
        raise CannotOpen(whose)


def new_secret() -> str:
    """A secret as Standard Webhooks spells it: 32 random bytes."""
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
