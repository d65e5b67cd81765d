"""What is asked of the servers."""

from __future__ import annotations

from dataclasses import dataclass, field

#: The header of a browser: with request line and Host about 600 bytes.
BROWSER = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cache-Control: max-age=0",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=granted",
]


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    path: str
    headers: tuple[str, ...] = field(default=())
    #: Bytes of the response's body, where they count.
    size: int = 0
    tls: bool = False
    #: Each request has a connection of its own: "new" with a full handshake, "resumed" with a session of an earlier one.
    handshake: str = ""
    #: By HTTP/2.
    h2: bool = False
    #: Zones of rate limits that are asked about it, none of which refuses.
    zones: int = 0
    #: The upstream has a circuit breaker.
    guarded: bool = False
    #: The route has header rules: three for responses, or three for requests.
    rules: str = ""

    def request(self, port: int) -> bytes:
        return "\r\n".join([f"GET {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *self.headers, "", ""]).encode()


CASES = [
    Case("local", "fixed answer", "/local"),
    Case("local-browser", "fixed answer, browser head", "/local", tuple(BROWSER)),
    Case("proxied", "proxied", "/small"),
    Case("proxied-browser", "proxied, browser head", "/small", tuple(BROWSER)),
    Case("proxied-64k", "proxied 64 KiB", "/64k", size=64 << 10),
    Case("proxied-10m", "proxied 10 MiB", "/10m", size=10 << 20),
    Case("tls-local", "TLS, fixed answer", "/local", tls=True),
    Case("tls-proxied", "TLS, proxied", "/small", tls=True),
    Case("tls-10m", "TLS, proxied 10 MiB", "/10m", size=10 << 20, tls=True),
    Case("tls-handshake", "TLS, full handshakes", "/local", ("Connection: close",), tls=True, handshake="new"),
    Case("tls-resumed", "TLS, resumed handshakes", "/local", ("Connection: close",), tls=True, handshake="resumed"),
    Case("h2-local", "HTTP/2, fixed answer", "/local", h2=True),
    Case("h2-proxied", "HTTP/2, proxied", "/small", h2=True),
    Case("h2-tls-local", "HTTP/2 over TLS, fixed answer", "/local", tls=True, h2=True),
    Case("h2-tls-proxied", "HTTP/2 over TLS, proxied", "/small", tls=True, h2=True),
    Case("limited-1", "fixed answer, 1 zone", "/local", zones=1),
    Case("limited-8", "fixed answer, 8 zones", "/local", zones=8),
    Case("guarded", "proxied, circuit breaker", "/small", guarded=True),
    Case("response-rules", "proxied, 3 rules for response fields", "/small", rules="response_headers"),
    Case("request-rules", "proxied, 3 rules for request fields", "/small", rules="request_headers"),
]


def named(names: list[str]) -> list[Case]:
    """The cases with these names, in the order of the table; all but those of HTTP/2, rate limits, breakers and rules when none is named."""
    known = {case.name for case in CASES}
    if unknown := set(names) - known:
        raise SystemExit(f"unknown case: {', '.join(sorted(unknown))} (known: {', '.join(case.name for case in CASES)})")
    return [case for case in CASES if (case.name in names if names else not (case.h2 or case.zones or case.guarded or case.rules))]
