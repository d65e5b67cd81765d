"""Records change, shrink and fail: the endpoints follow, and no request fails."""

from __future__ import annotations

import json

from support.load import Load
from support.names import servers
from support.wait import until


def names(gateway, name="app.test"):
    return json.loads(gateway.get("/stats").body)["dns"]["names"][name]


def seen(gateway, count=40):
    """Which backends answer."""
    return {gateway.get("/").body.decode() for _ in range(count)}


def test_records_change_and_shrink_under_load(launch, dnsmasq, hosts, app):
    backends = hosts("127.0.0.2", "127.0.0.3", "127.0.0.4")
    port = backends["127.0.0.2"].port
    server = dnsmasq(1, app=["127.0.0.2"])
    gateway = launch(workers=2, upstreams=[app(port)], dns=servers(server.port))
    assert seen(gateway, 5) == {"127.0.0.2"}
    with Load(gateway.port, path="/x") as load:
        server.change(app=["127.0.0.2", "127.0.0.3"])
        until(lambda: seen(gateway) == {"127.0.0.2", "127.0.0.3"}, 10, "both addresses in use")
        server.change(app=["127.0.0.3", "127.0.0.4"])
        until(lambda: seen(gateway) == {"127.0.0.3", "127.0.0.4"}, 10, "the new set in use")
        server.change(app=["127.0.0.4"])
        until(lambda: seen(gateway) == {"127.0.0.4"}, 10, "one address left")
        # What has gone gets nothing more: its idle connections are closed.
        until(lambda: all(c.ended.wait(0) for c in backends["127.0.0.2"].connections), 10, "connections to the first address closed")
        backends["127.0.0.2"].requests.clear()
        server.stop()
        until(lambda: names(gateway)["error"] is not None, 15, "a lookup that fails")
        # Each worker looks it up by itself, and the first one tells.
        until(lambda: "cannot be resolved" in gateway.log, 15, "the failure to be told")
        assert seen(gateway, 10) == {"127.0.0.4"}
        assert names(gateway)["addresses"] == ["127.0.0.4"]
        server.write({"app": ["127.0.0.3"]})
        server.start()
        until(lambda: seen(gateway) == {"127.0.0.3"}, 15, "the server's word counts again")
    assert load.answered > 100 and not load.failures, load.failures[:5]
    assert not backends["127.0.0.2"].requests
    # A server that is just starting may have answered for one address family and not yet for the other.
    until(lambda: names(gateway)["error"] is None, 15, "nothing left to complain about")
    until(lambda: "can be resolved again" in gateway.log, what="its end to be told")


def test_a_name_among_several_endpoints(launch, dnsmasq, hosts, backend):
    backends = hosts("127.0.0.2", "127.0.0.3")
    server = dnsmasq(1, app=["127.0.0.2", "127.0.0.3"], other=["127.0.0.2"])
    port = backends["127.0.0.2"].port
    gateway = launch(
        upstreams=[{"name": "app", "endpoints": [{"host": "app.test", "port": port}, {"host": "127.0.0.1", "port": backend.port}], "proxy": {"route_prefix": "/"}}],
        dns=servers(server.port))
    assert seen(gateway) == {"127.0.0.2", "127.0.0.3", "hello from the backend"}
    server.change(app=["127.0.0.3"], other=["127.0.0.2"])
    until(lambda: seen(gateway) == {"127.0.0.3", "hello from the backend"}, 10, "the address that is left")


def test_an_unknown_name_does_not_stop_the_start(launch, dnsmasq, hosts, app):
    backends = hosts("127.0.0.2")
    server = dnsmasq(1, other=["127.0.0.9"])
    gateway = launch(access_log=True, upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port))
    answer = gateway.get("/")
    assert answer.status == 503
    assert gateway.access_entries()[0]["error.type"] == "dns_error"
    server.change(app=["127.0.0.2"])
    until(lambda: gateway.get("/").status == 200, 15, "the name in use")
    stats = json.loads(gateway.get("/stats").body)
    assert stats["faults"]["dns_error"] >= 1 and stats["dns"]["failures"] >= 1 and stats["dns"]["lookups"] > stats["dns"]["failures"]


def test_a_server_that_is_away_at_the_start(launch, dnsmasq, hosts, app):
    backends = hosts("127.0.0.2")
    server = dnsmasq(1, app=["127.0.0.2"])
    server.stop()
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port, resolve_timeout_ms=500))
    assert until(lambda: gateway.get("/"), 10, "an answer").status == 503
    server.start()
    until(lambda: gateway.get("/").status == 200, 15, "the name in use")


def test_a_new_generation_serves_while_the_server_is_away(launch, dnsmasq, hosts, app):
    backends = hosts("127.0.0.2")
    server = dnsmasq(1, app=["127.0.0.2"])
    port = backends["127.0.0.2"].port
    gateway = launch(workers=2, upstreams=[app(port)], dns=servers(server.port))
    assert gateway.get("/").status == 200
    server.stop()
    with Load(gateway.port, path="/x") as load:
        gateway.reload(idle_timeout_sec=100)
        assert seen(gateway, 10) == {"127.0.0.2"}
        # Other names beside it, and other rules: what is known is kept.
        gateway.reload(upstreams=[app(port), {"name": "new", "host": "new.test"}], dns=servers(server.port, max_ttl_sec=5))
        assert seen(gateway, 10) == {"127.0.0.2"}
    assert not load.failures, load.failures[:5]


def test_a_new_worker_serves_while_the_server_is_away(launch, dnsmasq, hosts, app):
    import os
    import signal

    backends = hosts("127.0.0.2")
    server = dnsmasq(1, app=["127.0.0.2"])
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port))
    assert gateway.get("/").status == 200
    server.stop()
    first = gateway.worker
    os.kill(first, signal.SIGKILL)
    until(lambda: gateway.workers and gateway.workers[0] != first, 10, "another worker")
    assert gateway.get("/").body == b"127.0.0.2"


def test_status_shows_names(launch, dnsmasq, hosts, app):

    backends = hosts("127.0.0.2")
    server = dnsmasq(30, app=["127.0.0.2"])
    gateway = launch(upstreams=[app(backends["127.0.0.2"].port), {"name": "gone", "host": "gone.test"}], dns=servers(server.port))
    assert gateway.get("/").status == 200
    shown = json.loads(gateway.ctl("status", "--json").stdout)["names"]
    found = {entry["name"]: entry for entry in shown}
    assert found["app.test"]["addresses"] == ["127.0.0.2"] and found["app.test"]["error"] is None
    assert 0 < found["app.test"]["ttl_left_ms"] <= 30_000 and found["app.test"]["age_ms"] >= 0
    assert found["gone.test"]["addresses"] == [] and found["gone.test"]["error"]
    drawn = gateway.ctl("status").stdout
    assert "app.test" in drawn and "127.0.0.2" in drawn and "there is no such name" in drawn


def test_one_worker_asks_for_all(launch, scripted, hosts, app):
    from support.names import a

    backends = hosts("127.0.0.2")
    server = scripted({("app.test", 1): [a("127.0.0.2", 60)], ("app.test", 28): []})
    gateway = launch(workers=4, upstreams=[app(backends["127.0.0.2"].port)], dns=servers(server.port))
    assert seen(gateway, 20) == {"127.0.0.2"}
    assert server.count("app.test") <= 2
