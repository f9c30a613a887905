"""The callback address on this machine: a small HTTPS listener that takes Schwab's redirect once.

In:   the browser, sent to `CALLBACK?code=…&state=…`.      Out:  the request's target, for oauth.parse_redirect.
It lives for one login, with a certificate made for it alone, which the browser warns about. `START_PATH` forwards to
Schwab: a browser that begins there has met the warning before the code's 30 seconds run, and no process list ever shows
the address with the app's key. Any other request (a favicon, plain http, a scan, another login's state) is answered or
dropped and ends nothing. The page shown takes the code out of the browser's address bar and history.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import secrets
import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from alphakite.errors import UnavailableError

START_PATH = "/alphakite-sign-in"
REQUEST_WITHIN_S = 15.0
REQUEST_BYTES = 16_384
CONNECTIONS = 32
PAGE = (
    "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>alphakite</title>"
    "<script>history.replaceState(null,'','/')</script>"
    "<body style='font:1.2em sans-serif;max-width:32em;margin:4em auto;padding:0 1em'><p>{text}</p>"
)
REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 410: "Gone"}


def is_local(callback_url: str) -> bool:
    """Whether the callback address is this machine's own."""
    host = urlsplit(callback_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class CallbackListener:
    """`async with CallbackListener(...) as listener: target = await listener.redirect()`.

    Entering raises UnavailableError when the port cannot be had.
    """

    def __init__(self, callback_url: str, state: str, forward_to: str) -> None:
        parts = urlsplit(callback_url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port if parts.port is not None else 443
        self._path = parts.path or "/"
        self._state = state
        self._forward_to = forward_to
        self._target: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()
        self.start_url = f"https://{parts.netloc}{START_PATH}"

    async def __aenter__(self) -> CallbackListener:
        context = server_context(self._host)
        hosts = ("127.0.0.1", "::1") if self._host == "localhost" else (self._host,)
        for host in hosts:
            try:
                self._servers.append(
                    await asyncio.start_server(
                        self._serve, host, self._port, ssl=context, limit=REQUEST_BYTES, ssl_handshake_timeout=30.0
                    )
                )
            except OSError as error:
                if host == "::1":  # a machine without IPv6
                    continue
                raise UnavailableError(
                    f"the callback port {self._port} cannot be had: {error.strerror or type(error).__name__}",
                    next_step="paste the address instead, or end the program that has the port",
                ) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    async def redirect(self) -> str:
        """The target of the one good request, `/?code=…`."""
        return await asyncio.shield(self._target)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
                async with asyncio.timeout(REQUEST_WITHIN_S):
                    await self._answer(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer. The target is told only after its page is on the way."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, _, rest = head.partition("\r\n")[0].partition(" ")
        target = rest.rpartition(" ")[0]
        status, text, location, good = self._decide(method, target)
        lines = [
            f"HTTP/1.1 {status} {REASONS[status]}",
            "Content-Type: text/html; charset=utf-8",
            "Cache-Control: no-store",
            "Referrer-Policy: no-referrer",
            "Connection: close",
        ]
        body = PAGE.format(text=text).encode() if method != "HEAD" else b""
        lines += [f"Location: {location}"] if location else []
        lines += [f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        try:
            await writer.drain()
        finally:
            if good and not self._target.done():
                self._target.set_result(target)

    def _decide(self, method: str, target: str) -> tuple[int, str, str, bool]:
        """(status, text, where to, whether this is the redirect that is waited for)."""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        if method != "GET":
            return 405, "Only GET.", "", False
        if parts.path == START_PATH:
            return 302, "On to Schwab.", self._forward_to, False
        if parts.path.rstrip("/") != self._path.rstrip("/") or not ("code" in query or "error" in query):
            return 404, "Nothing is here. The sign-in still waits in the terminal.", "", False
        if not secrets.compare_digest(query.get("state", [""])[0].encode(), self._state.encode()):
            return 400, "This belongs to another sign-in. Open the address that the terminal shows.", "", False
        if self._target.done():
            return 410, "This sign-in was already taken. Look at the terminal.", "", False
        if "error" in query:
            return 200, "Schwab did not grant access. Look at the terminal.", "", True
        return 200, "Received. You may close this page; the terminal says whether it worked.", "", True


def server_context(host: str) -> ssl.SSLContext:
    """TLS with a self-signed certificate for one host, good for a day; its key is on disk for a moment only, 0600."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"alphakite sign-in on {host}"[:64])])
    try:
        known: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        known = x509.DNSName(host)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([known]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="alphakite-") as folder:  # 0700; ssl reads from files only
        file = Path(folder) / "listener.pem"
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(file)
    return context
