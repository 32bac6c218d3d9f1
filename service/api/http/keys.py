"""API keys: check that a request may classify, or may administer."""

import hashlib
import hmac

from starlette.requests import Request

from service.api.http.key_file import KeyFile
from service.errors import Unauthorized


class Keys:
    """A set of keys, held as digests and compared in constant time."""

    def __init__(self, keys: tuple[str, ...], file: KeyFile | None = None) -> None:
        """Before every request, `file` says whether the keys have changed."""
        self._digests = [_digest(key) for key in keys]
        self._file = file

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, request: Request) -> None:
        """Let a request with one of the keys pass.

        Raises:
            Unauthorized: it has no key, or a wrong one.
        """
        if self._file is not None and (keys := self._file.changed()) is not None:
            self._digests = [_digest(key) for key in keys]
        given = key_of(request)
        if not given:
            raise Unauthorized("send a key: Authorization: Bearer KEY, or X-API-Key: KEY")
        digest = _digest(given)
        # Every key is compared, so the time does not show which key is similar.
        if not sum([hmac.compare_digest(digest, known) for known in self._digests]):
            raise Unauthorized("the key is not known here")


def key_of(request: Request) -> str:
    """The key that a request carries; empty if it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key", "").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
