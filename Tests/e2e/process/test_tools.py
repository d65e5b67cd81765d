"""What gatewayctl shows of a running gateway, and of a configuration: plan, routes, explain, certs, connections, top, logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from support.backend import Backend, hang, unused_endpoint
from support.client import Client, request
from support.configuration import forward, redirect, respond, upstream
from support.gateway import Gateway, binaries, clean_environment, ctl
from support.tls import Authority, listener
from support.wait import until


def answer(gateway: Gateway, *words: str) -> dict:
    done = gateway.ctl(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# plan


def test_plan_names_what_differs(launch, backend: Backend) -> None:
    gateway: Gateway = launch(workers=2, upstreams=[upstream(backend.port), upstream(1, "/b", name="other")], routes=[respond("/"), respond("/old")])
    assert "change nothing" in gateway.ctl("plan").stdout and answer(gateway, "plan") == {"changes": []}
    gateway.write(workers=3, upstreams=[upstream(1, "/b", name="other"), upstream(backend.port, pool={"max_connections": 7, "max_idle_connections": 3}), upstream(2, "/c", name="third")],
                  routes=[respond("/", body="changed"), respond("/new")])
    changes = {change["path"]: (change["old"], change["new"]) for change in answer(gateway, "plan")["changes"]}
    assert changes["workers"] == (2, 3)
    assert changes["upstreams[backend].pool.max_connections"][1] == 7
    assert changes["upstreams[third]"][0] is None and changes["upstreams[third]"][1]["port"] == 2
    assert changes["routes[/].respond.body"] == ("ok", "changed")
    assert changes["routes[/old]"][1] is None and changes["routes[/new]"][0] is None
    assert changes["upstreams (order)"] == ("backend, other", "other, backend")
    text = gateway.ctl("plan").stdout
    assert "~ workers: 2 → 3" in text and "+ upstreams[third]" in text and "- routes[/old]" in text
    # Nothing has happened; then it does, and there is nothing left.
    assert gateway.get("/").body == b"ok" and len(gateway.workers) == 2
    assert gateway.ctl("reload").returncode == 0
    assert answer(gateway, "plan") == {"changes": []}


def test_plan_of_a_bad_configuration_fails_with_the_reasons(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    gateway.write(workers="many")
    done = gateway.ctl("plan")
    assert done.returncode == 1 and "workers" in done.stderr and "gateway.json:" in done.stderr


def test_plan_sees_fractions(launch) -> None:
    zone = {"name": "all", "rate": 0.5, "capacity": 5, "key_type": "client_ip"}
    gateway: Gateway = launch(routes=[respond("/")], rate_limit={"enabled": True, "zones": [zone]})
    gateway.write(rate_limit={"enabled": True, "zones": [{**zone, "rate": 0.75}]})
    assert answer(gateway, "plan")["changes"] == [{"path": "rate_limit.zones[all].rate", "old": 0.5, "new": 0.75}]


# routes


def test_routes_tell_what_holds(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({
        "upstreams": [{"name": "stable", "host": "127.0.0.1", "port": 1}, {"name": "canary", "host": "127.0.0.1", "port": 2}],
        "routes": [{"path": "/shop/*rest", "split": [{"upstream": "stable", "weight": 9}, {"upstream": "canary", "weight": 1}],
                    "mirror": {"upstream": "canary", "percent": 10.5}, "allow": ["10.0.0.0/8"], "max_body_size": "1MiB",
                    "response_headers": {"set": {"X-A": "1"}, "remove": ["Server"]}}]}))
    code, reply = matched(path, "GET https://shop.example/shop/x")
    assert code == 0 and reply["route"]["action"] == "forward, split between stable, canary"
    for policy in ("split: canary, weight 1", "mirrored to canary: 10.5 %, at most 100 at the same time", "clients by address: 1 ranges allowed, 0 denied",
                   "response headers: remove Server; set X-A", "request body at most 1048576 bytes"):
        assert policy in reply["route"]["policies"]


def matched(path: Path, question: str) -> tuple[int, dict]:
    done = ctl("routes", "-c", str(path), "--match", question, "--json")
    return done.returncode, json.loads(done.stdout)


def test_routes_tell_which_and_why(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({
        "upstreams": [upstream(80, "/api", name="app", retry={"max_retries": 2})],
        "routes": [forward("/users/:id", "app"), respond("/users/me"), respond("/users/me", hosts=["other.test"]), {**redirect("/post", "/x"), "methods": ["POST"]}],
        "rate_limit": {"enabled": True, "zones": [{"name": "everybody", "rate": 1, "capacity": 1, "key_type": "client_ip"},
                                                  {"name": "api", "rate": 1, "capacity": 1, "key_type": "client_ip", "applies_to": ["/api"]}]},
    }))
    code, reply = matched(path, "GET https://example.com/users/7?x=1")
    assert matched(path, "GET /users/7 HTTP/1.1")[1]["route"]["pattern"] == "/users/:id"
    assert code == 0 and reply["route"]["pattern"] == "/users/:id" and reply["route"]["action"] == "forward to app" and reply["rate_limits"] == ["everybody"]
    _, reply = matched(path, "/users/./me")
    assert reply["route"]["pattern"] == "/users/me" and reply["route"]["hosts"] == [] and reply["path"] == "/users/me"
    assert {entry["reason"] for entry in reply["not_taken"]} == {"less specific", "for other hosts (other.test)"}
    _, reply = matched(path, "GET http://other.test:8080/users/me")
    assert reply["route"]["hosts"] == ["other.test"]
    _, reply = matched(path, "GET /api/x")
    assert reply["rate_limits"] == ["everybody", "api"] and reply["route"]["action"] == "forward to app"
    assert matched(path, "GET /nowhere") == (1, {**matched(path, "GET /nowhere")[1], "status": 404})
    assert matched(path, "GET /post")[1]["status"] == 405
    assert matched(path, "GET /a%00")[1]["status"] == 400
    text = ctl("routes", "-c", str(path), "--match", "GET https://example.com/api/x").stdout
    assert "forward to app" in text and "sent again up to 2 times" in text and "everybody" in text
    listed = ctl("routes", "-c", str(path)).stdout
    assert "/users/:id" in listed and "other.test" in listed and "POST" in listed
    assert "PROPFIND (any host) /api/x" in ctl("routes", "-c", str(path), "--match", "PROPFIND /api/x").stdout and matched(path, "get /post")[1]["status"] == 405
    for nonsense in ("nonsense at all", "G@T /users/7", "ftp://host/users/7"):
        assert ctl("routes", "-c", str(path), "--match", nonsense).returncode == 2


def test_clients_are_clients_when_their_listener_is_gone(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)], shutdown_drain_timeout_sec=30)
    backend.answer = hang
    client = Client(gateway.port)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    peer = "%s:%d" % client.sock.getsockname()
    stopping = gateway.ctl_start("stop")
    until(lambda: "stopping" in gateway.log, what="the stop")
    held = answer(gateway, "connections", "--draining")["connections"]
    assert {entry["with"]: entry["peer"] for entry in held} == {"client": peer, "backend": f"127.0.0.1:{backend.port}"}
    # Stopping once more without waiting is no hurry.
    assert gateway.ctl("stop", "--no-wait").returncode == 0 and gateway.ctl("stop", "--no-wait").returncode == 0
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.read().status == 200
    assert stopping.wait(20) == 0


def test_what_is_cut_off_by_a_stop_is_logged(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)], access_log=True)
    backend.answer = hang
    client = Client(gateway.port)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    assert gateway.ctl("stop", "--now").returncode == 0
    entries = gateway.access_entries(1)
    assert [entry["error.type"] for entry in entries] == ["drain_deadline"]


def test_who_waits_for_a_connection_is_sent_nowhere_by_a_stop(launch, backend: Backend) -> None:
    pool = {"max_connections": 1, "max_idle_connections": 1, "connect_timeout_ms": 20_000}
    gateway: Gateway = launch(workers=1, upstreams=[upstream(backend.port, pool=pool)], access_log=True)
    backend.answer = hang
    clients = [Client(gateway.port) for _ in range(4)]
    clients[0].send(request("GET", "/api"))
    backend.wait_requests(1)
    for client in clients[1:]:
        client.send(request("POST", "/api", "Content-Length: 0"))
    until(lambda: json.loads(gateway.get("/stats").body)["upstream_connections"]["waiting"] == 3, what="the queue")
    assert gateway.ctl("stop", "--now").returncode == 0
    assert sum(entry["url.path"] == "/api" and entry["error.type"] == "drain_deadline" for entry in gateway.access_entries(5) if "error.type" in entry) == 4
    time.sleep(0.2)
    assert len(backend.connections) == 1


# orders and failures, for programs


def test_orders_for_programs(launch, tmp_path: Path) -> None:
    backends = [{"name": "app", "endpoints": [{"host": "127.0.0.1", "port": 1}, {"host": "127.0.0.1", "port": 2}], "circuit_breaker": {"enabled": True},
                 "proxy": {"route_prefix": "/api"}}]
    gateway: Gateway = launch(routes=[respond("/")], upstreams=backends, log={"file": str(tmp_path / "error.log")})
    assert answer(gateway, "reload") == {"outcome": "ok", "messages": ["generation 2 serves"]}
    assert answer(gateway, "reload", "--no-wait")["outcome"] == "signalled"
    until(lambda: "generation 3 serves" in gateway.log, what="the reload")
    for words in (["reopen"], ["upstreams", "drain", "app/127.0.0.1:1"], ["breakers", "open", "app"]):
        told = answer(gateway, *words)
        assert told["outcome"] == "ok" and len(told["messages"]) == (words != ["reopen"]), told
    assert len(ctl("version", "-V").stdout.splitlines()) == len(ctl("-V").stdout.splitlines()) == 5
    assert json.loads(ctl("version", "--json").stdout) == {"version": "1.0.0"}
    assert set(json.loads(ctl("version", "-V", "--json").stdout)) == {"version", "compiler", "platform", "libraries", "features"}
    # Failures stand on both outputs.
    gateway.write(workers="many")
    for words in (["plan"], ["reload"], ["upstreams", "drain", "nobody/x"], ["breakers", "open", "nobody"], ["explain", "nonsense"],
                  ["routes", "-c", str(gateway.config_file)], ["connections", "-P", str(tmp_path / "none.pid")]):
        done = ctl(*words, "--json") if words[0] in ("explain", "routes", "connections") else gateway.ctl(*words, "--json")
        told = json.loads(done.stdout)
        assert done.returncode == 1 and told["outcome"] == ("not running" if words[0] == "connections" else "failed"), (words, done)
        assert told["messages"] and all(message in done.stderr for message in told["messages"])
    gateway.write()
    assert gateway.ctl("stop", "--json").stdout.strip() == json.dumps({"messages": [f"gatewayd (PID {gateway.pid}) has stopped."], "outcome": "ok"})


def test_names_for_programs_have_no_blanks() -> None:
    found = json.loads(ctl("explain", "connection_refused", "--json").stdout)[0]
    assert found["sent_again"] and not any(" " in key for key in found)


# explain


def test_explain(tmp_path: Path) -> None:
    done = ctl("explain", "upstreams[2].pool.max_connections")
    assert done.returncode == 0 and "upstreams[].pool.max_connections" in done.stdout and "default" in done.stdout
    assert "workers" in ctl("explain", "GATEWAY_WORKERS").stdout
    assert "upstreams[].pool.max_connections" in ctl("explain", "pool.max_connections").stdout
    assert "refused the connection" in ctl("explain", "connection_refused").stdout
    assert json.loads(ctl("explain", "workers", "--json").stdout)[0]["name"] == "workers"
    unknown = ctl("explain", "max_connection")
    assert unknown.returncode == 1 and 'did you mean "max_connections"?' in unknown.stderr


# certs


def test_certs(launch, tmp_path: Path) -> None:
    site = Authority(tmp_path / "ca").issue("site.test")
    gateway: Gateway = launch(routes=[respond("/")])
    assert "No listener speaks TLS" in gateway.ctl("certs").stdout
    gateway.reload(bind_host=None, bind_port=None, listeners=[listener(gateway.port, site)])
    assert "site.test" in gateway.ctl("certs").stdout
    shown = answer(gateway, "certs")["certificates"]
    assert shown[0]["names"] == ["site.test"] and shown[0]["days_left"] >= 28


# connections


def test_who_holds_a_draining_generation(launch, backend: Backend) -> None:
    gateway: Gateway = launch(upstreams=[upstream(backend.port)], shutdown_drain_timeout_sec=30)
    backend.answer = hang
    client = Client(gateway.port)
    client.send(request("GET", "/api"))
    backend.wait_requests(1)
    gateway.reload()
    peer = "%s:%d" % client.sock.getsockname()
    held = answer(gateway, "connections", "--draining")["connections"]
    assert {entry["with"]: entry["peer"] for entry in held} == {"client": peer, "backend": f"127.0.0.1:{backend.port}"}
    assert all(entry["generation"] == 1 and entry["state"] == "draining" and entry["tcp"] == "ESTABLISHED" for entry in held)
    assert peer in gateway.ctl("connections").stdout
    backend.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.read().status == 200


# top


def test_top_works_when_nobody_answers(launch) -> None:
    gateway: Gateway = launch(workers=2, routes=[respond("/")])
    for _ in range(5):
        gateway.get("/")
    workers = gateway.workers
    stopped = [gateway.pid, *workers]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        done = subprocess.run([binaries() / "gatewayctl", "top", "--json", "-P", gateway.pid_file], capture_output=True, text=True, timeout=20, env=clean_environment())
        text = subprocess.run([binaries() / "gatewayctl", "top", "--count", "1", "-P", gateway.pid_file], capture_output=True, text=True, timeout=20, env=clean_environment()).stdout
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    shown = json.loads(done.stdout)
    assert shown["now"]["upstream_connections_idle"] == 0 and not any(" " in key for part in ("now", "per_second") for key in shown[part])
    assert {worker["pid"] for worker in shown["workers"]} == set(workers) and sum(worker["requests"] for worker in shown["workers"]) == 5
    assert "REQUESTS/S" in text and all(str(pid) in text for pid in workers)
    for wrong in ("0", "3601", "-1"):
        assert gateway.ctl("top", "--count", "1", "--interval", wrong).returncode == 2


def test_top_shows_latencies_by_route_and_upstream(launch) -> None:
    def answer(connection, asked) -> None:
        time.sleep(0.15)
        connection.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    backend = Backend(answer)
    gateway: Gateway = launch(workers=2, routes=[respond("/fixed/:id")], upstreams=[upstream(backend.port, "/api", name="shop")])
    for command in (["top", "--json", "--interval", "2"], ["top", "--count", "1", "--interval", "2"]):
        watching = subprocess.Popen([binaries() / "gatewayctl", *command, "-P", gateway.pid_file], stdout=subprocess.PIPE, text=True, env=clean_environment())
        time.sleep(0.6)
        for _ in range(3):
            gateway.get("/fixed/7"), gateway.get("/api"), gateway.get("/missing")
        text = watching.communicate(timeout=20)[0]
        if "--json" in command:
            shown = json.loads(text)
            routes = {row["name"]: row for row in shown["routes"]}
            assert set(routes) == {"/fixed/:id", "/api/*", "(no route)"}, routes
            assert routes["/fixed/:id"]["failed_per_second"] == 0 and routes["/fixed/:id"]["p99_us"] < 100_000
            shop = shown["upstreams"][0]
            assert shop["name"] == "shop" and shop["requests_per_second"] == 2 and shop["failed_per_second"] == 2
            assert 150_000 <= shop["p50_us"] < 400_000 and 150_000 <= shop["mean_us"] < 400_000
            assert shown["latency"]["requests_per_second"] >= 4
        else:
            assert "P99" in text and "shop" in text and "/fixed/:id" in text
    backend.stop()


def test_top_goes_on_with_the_next_generation(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/old")])
    gateway.get("/old")
    gateway.reload(routes=[respond("/new")])
    watching = subprocess.Popen([binaries() / "gatewayctl", "top", "--json", "--interval", "2", "-P", gateway.pid_file], stdout=subprocess.PIPE, text=True, env=clean_environment())
    time.sleep(0.6)
    gateway.get("/new")
    assert [row["name"] for row in json.loads(watching.communicate(timeout=20)[0])["routes"]] == ["/new"]


# logs


def test_logs_are_filtered_and_followed_over_a_rotation(launch, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    gateway: Gateway = launch(access_log=True, log={"file": str(log), "max_files": 1, "level": "debug"}, routes=[respond("/"), respond("/one"), respond("/two"), respond("/three"), respond("/bad", status=503)])
    gateway.get("/"), gateway.get("/bad"), gateway.get("/nowhere")
    gateway.access_entries(3)
    lines = gateway.ctl("logs", "--access", "--status", "5xx").stdout.splitlines()
    assert len(lines) == 1 and "/bad" in lines[0]
    assert len(gateway.ctl("logs", "--access", "-n", "2").stdout.splitlines()) == 2
    assert [json.loads(line)["url.path"] for line in gateway.ctl("logs", "--access", "-n", "2", "--json").stdout.splitlines()] == ["/bad", "/nowhere"]
    events = [json.loads(line) for line in gateway.ctl("logs", "--json", "-n", "100").stdout.splitlines()]
    assert all(set(event) == {"time", "level", "message"} for event in events) and any("serves with" in event["message"] for event in events)
    assert "serves with" in gateway.ctl("logs", "--level", "info").stdout and gateway.ctl("logs", "--level", "critical").stdout == ""
    with subprocess.Popen([binaries() / "gatewayctl", "logs", "--access", "-f", "-n", "0", "-P", gateway.pid_file], stdout=subprocess.PIPE, text=True, env=clean_environment()) as follower:
        assert follower.stdout
        try:
            time.sleep(0.3)
            gateway.get("/one")
            assert "/one" in follower.stdout.readline()
            gateway.access_file.rename(tmp_path / "old.log")
            gateway.get("/two")
            assert gateway.ctl("reopen").returncode == 0
            gateway.get("/three")
            assert "/two" in follower.stdout.readline() and "/three" in follower.stdout.readline()
        finally:
            follower.kill()
    assert gateway.ctl("logs", "--status", "200").returncode == 2
    assert "serves with" in gateway.ctl("logs", "--level", "info").stdout and gateway.ctl("logs", "--level", "warning").returncode == 0
    gateway.reload(access_log={"enabled": True, "file": str(gateway.access_file), "format": "$status $path", "flush_interval_ms": 20})
    for _ in range(3):
        gateway.get("/bad")
    until(lambda: gateway.access_file.read_text().count("503 /bad") == 3, what="the lines")
    done = gateway.ctl("logs", "--access", "--status", "503")
    assert done.returncode == 1 and "do not tell their status" in done.stderr


def test_logs_are_followed_through_files_that_fill_up(launch, tmp_path: Path) -> None:
    _nobody, port = unused_endpoint()
    gateway: Gateway = launch(log={"file": str(tmp_path / "rotated" / "error.log"), "max_files": 20, "max_file_size": "1KiB"}, routes=[respond("/")],
                              upstreams=[upstream(port)])
    with subprocess.Popen([binaries() / "gatewayctl", "logs", "-f", "-n", "0", "--contains", "upstream backend", "-P", gateway.pid_file], stdout=subprocess.PIPE, text=True,
                          env=clean_environment()) as follower:
        time.sleep(0.3)

        def written() -> list[str]:
            files = sorted((tmp_path / "rotated").iterdir(), key=lambda file: file.stat().st_mtime_ns)
            return [line for file in files for line in file.read_text().splitlines() if "upstream backend" in line]

        def full() -> bool:
            gateway.get("/api")
            return len(list((tmp_path / "rotated").iterdir())) >= 4

        until(full, 30, "files to fill up", pause=0.05)
        time.sleep(2)
        follower.terminate()
        shown = follower.communicate(timeout=10)[0].splitlines()
    assert sorted(shown) == sorted(written()) and len(shown) >= 4
    # The last lines are those of earlier files, too.
    assert gateway.ctl("logs", "-n", "1000", "--contains", "upstream backend").stdout.splitlines() == written()
    assert gateway.ctl("logs", "-n", "3", "--contains", "SERVER START").stdout.count("\n") == 1


def test_nobody_reads_the_table_any_more(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    reading, writing = os.pipe()
    command = [binaries() / "gatewayctl", "top", "--interval", "1", "-P", gateway.pid_file]
    with subprocess.Popen(command, stdout=writing, env=clean_environment(), restore_signals=False) as top:
        os.close(writing)
        assert b"requests" in os.read(reading, 65_536).lower()
        os.close(reading)
        assert top.wait(10) != 0
    with open("/dev/full", "wb") as full:
        done = subprocess.run([binaries() / "gatewayctl", "version"], stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment())
    assert done.returncode == 1 and "cannot write to standard output: No space left on device" in done.stderr


def test_a_log_that_is_no_file(launch) -> None:
    gateway: Gateway = launch(routes=[respond("/")])
    done = gateway.ctl("logs")
    assert done.returncode == 1 and "does not write this log to a file" in done.stderr
    until(lambda: gateway.get("/").status == 200)
