"""One HTTP request to Schwab: the answer and its `Date`, or TransientError."""

from __future__ import annotations

import contextlib
import email.utils
from collections.abc import Callable
from typing import Any

import httpx

from alphakite.errors import TransientError

TOKEN_PATH = "/v1/oauth/token"
REQUEST_WITHIN_S = 10.0
"""For each step of a request: connecting, sending, each wait for more of the answer."""


def client_for(base_url: str) -> httpx.AsyncClient:
    """A client for one base address."""
    return httpx.AsyncClient(base_url=base_url, timeout=REQUEST_WITHIN_S, headers={"Accept": "application/json"})


async def send(
    client: httpx.AsyncClient, on_date_ms: Callable[[int], None], method: str, path: str, **options: Any
) -> httpx.Response:
    """One request; its answer's Date is told. Raises TransientError if none comes."""
    try:
        response = await client.request(method, path, **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransientError(
            f"Schwab cannot be reached: {type(error).__name__} ({client.base_url})", next_step="it is tried again"
        ) from error
    if stamp := response.headers.get("date"):
        with contextlib.suppress(ValueError, OverflowError):
            on_date_ms(int(email.utils.parsedate_to_datetime(stamp).timestamp() * 1000))
    return response


def retry_after_s(response: httpx.Response) -> float:
    """The wait that an answer asks for; 0 if it asks for none, an hour at most."""
    try:
        return min(3600.0, max(0.0, float(response.headers.get("retry-after", "0"))))
    except ValueError:
        return 0.0
