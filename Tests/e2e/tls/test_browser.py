"""A real browser: Chromium loads a page over TLS and HTTP/2, posts to a backend, and opens WebSockets, which it does on
streams of the same connection (RFC 8441).

It is skipped where there is no Chromium; scripts/test installs it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.backend import Backend, Connection, Request
from support.configuration import Json, upstream
from support.tls import Certificate
from support.wait import until
from support.websocket import WebSocketBackend

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)

PAGE = """<!doctype html><title>test</title><script>
const text = "a text with \\u00fc and \\u{1f600}", large = "x".repeat(200000);
function talk(path) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket("wss://" + location.host + path, "chat"), heard = [];
    socket.onopen = () => { socket.send(text); socket.send(large); socket.send(new Uint8Array([1, 2, 3])); };
    socket.onmessage = event => {
      heard.push(event.data instanceof Blob ? event.data.size : event.data);
      if (heard.length == 3) socket.close(4000, "enough");
    };
    socket.onclose = event => resolve({right: heard[0] === text && heard[1] === large && heard[2] === 3, code: event.code, clean: event.wasClean,
                                       protocol: socket.protocol, extensions: socket.extensions});
    setTimeout(() => reject(path + " took too long"), 20000);
  });
}
async function run() {
  const answers = await Promise.all([...Array(20).keys()].map(n => fetch("/api/echo?" + n, {method: "POST", body: large + n}).then(a => a.text())));
  const protocol = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  return {protocol, bodies: answers.every((body, n) => body === large + n), endpoint: await talk("/ws"), proxied: await talk("/proxied")};
}
run().catch(error => ({error: String(error)})).then(result => fetch("/api/result", {method: "POST", body: JSON.stringify(result)}));
</script>"""


@pytest.fixture
def echo() -> Iterator[WebSocketBackend]:
    backend = WebSocketBackend(subprotocols=["chat"])
    yield backend
    backend.stop()


def spki(certificate: Certificate) -> str:
    """What Chromium calls a certificate it shall trust."""
    key = subprocess.run(["openssl", "x509", "-in", certificate.chain, "-noout", "-pubkey"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key, capture_output=True, check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here (apt-get install chromium)")
def test_a_page_with_websockets(secure, site: Certificate, backend: Backend, echo: WebSocketBackend, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    results: list[Json] = []

    def answer(connection: Connection, request: Request) -> None:
        body = connection.read_body(request)
        if request.target == "/api/result":
            results.append(json.loads(body))
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    backend.answer = answer
    gateway = secure(
        access_log=True, upstreams=[upstream(backend.port, "/api"), upstream(echo.port, "/proxied", name="echo")], max_body_size=1 << 20,
        routes=[{"path": "/page", "respond": {"body": PAGE, "headers": {"Content-Type": "text/html; charset=utf-8"}}},
                {"path": "/ws", "echo": {"subprotocols": ["chat"]}}])
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}", f"--ignore-certificate-errors-spki-list={spki(site)}",
               "--host-resolver-rules=MAP site.test 127.0.0.1", "--remote-debugging-port=0", f"https://site.test:{gateway.port}/page"]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with (tmp_path / "browser.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        until(lambda: results, timeout=60, what="the browser's result")
    finally:
        os.killpg(browser.pid, signal.SIGTERM)
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    result = results[0]
    assert "error" not in result, result["error"]
    assert result["protocol"] == "h2" and result["bodies"]
    for name in ("endpoint", "proxied"):
        assert result[name]["right"] and result[name]["clean"] and result[name]["code"] == 4000, result
        assert result[name]["protocol"] == "chat"
    assert "permessage-deflate" in result["endpoint"]["extensions"]
    # All of it on HTTP/2, the WebSockets as well.
    entries = [entry for entry in gateway.access_entries(24) if entry["url.path"] != "/favicon.ico"]
    assert {entry["network.protocol.version"] for entry in entries} == {"2"}
    assert {"/page", "/ws", "/proxied", "/api/result"} <= {entry["url.path"] for entry in entries}
    assert not [entry for entry in entries if "error.type" in entry]
