"""dns.required: what does not resolve does not start, and refuses a reload."""

from __future__ import annotations

import time

from support.names import servers


def test_a_start_without_addresses_fails(launch, dnsmasq):
    server = dnsmasq(1, other=["127.0.0.2"])
    gateway = launch(wait=False, upstreams=[{"name": "app", "host": "app.test"}], dns=servers(server.port, required=True))
    assert gateway.wait_exit(20) == 1
    assert "app.test cannot be resolved: there is no such name" in gateway.log


def test_a_start_without_a_server_fails_in_time(launch, dnsmasq):
    server = dnsmasq(1)
    server.stop()
    begun = time.monotonic()
    gateway = launch(
        wait=False, upstreams=[{"name": "app", "host": "app.test"}],
        dns=servers(server.port, required=True, resolve_timeout_ms=300, overall_timeout_ms=1500))
    assert gateway.wait_exit(20) == 1
    assert time.monotonic() - begun > 1.4
    assert "app.test cannot be resolved" in gateway.log


def test_a_reload_without_addresses_is_refused(launch, dnsmasq, hosts, app):
    backends = hosts("127.0.0.2")
    server = dnsmasq(1, app=["127.0.0.2"])
    port = backends["127.0.0.2"].port
    gateway = launch(upstreams=[app(port)], dns=servers(server.port, required=True))
    assert gateway.get("/").status == 200
    gateway.write(upstreams=[app(port), {"name": "new", "host": "new.test"}])
    done = gateway.ctl("reload", timeout=60)
    assert done.returncode != 0 and "new.test cannot be resolved" in done.stdout + done.stderr
    assert gateway.get("/").status == 200
    server.change(app=["127.0.0.2"], new=["127.0.0.2"])
    gateway.reload()
    assert gateway.get("/").status == 200
