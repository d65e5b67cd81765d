"""Clients are kept busy while the backend breaks: none sees an error that a safe retry could have hidden, and nothing unsafe is sent twice."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.backend import head
from support.client import Client, request
from support.message import Closed
from support.misbehaving import BODY, GOOD, Peer, Peer2, Request2, Scenario
from support.tls import Authority

from .conftest import Behind, Setting

RETRY = {"retry": {"max_retries": 10}}
H2 = {"http2": {"enabled": True, "prefer": "always"}}


def body_of(name: str) -> bytes:
    """Requests that are named so have long bodies of their own."""
    return name.encode() * 4000 if name.startswith("PUT") else b"x" * 50 if name.startswith("POST") else b""


class Busy:
    """Threads that send GET and POST requests in turn, each with an id of its own and once only."""

    def __init__(self, setting: Setting, methods: tuple[str, ...] = ("GET", "POST"), threads: int = 8, seconds: float = 2) -> None:
        self.setting, self.methods = setting, methods
        self.statuses: dict[str, int | None] = {}
        setting.backend.body_of = body_of
        self._end = time.monotonic() + seconds
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def join(self) -> "Busy":
        for thread in self._threads:
            thread.join(30)
        assert len(self.statuses) > 50, "there was no load"
        assert all(self.setting.backend.methods.get(name, "GET") in self.methods for name in self.statuses)
        return self

    def _run(self, number: int) -> None:
        client: Client | None = None
        count = 0
        while time.monotonic() < self._end:
            method = self.methods[count % len(self.methods)]
            name = f"{method}-{number}-{count}"
            count += 1
            status: int | None = None
            try:
                client = client or Client(self.setting.gateway.port, timeout=20)
                client.send(request(method, "/api", f"X-Request-Id: {name}", body=body_of(name)))
                answer = client.read(method)
                status = answer.status
                if status == 200 and answer.body != BODY:
                    status = -1
                if answer.closes:
                    client.close()
                    client = None
            except (Closed, OSError):
                client = None
            self.statuses[name] = status
        if client:
            client.close()

    def failed(self, method: str) -> dict[str, str]:
        """What did not get a good answer, and why."""
        failed = [name for name, status in self.statuses.items() if status != 200 and name.startswith(method)]
        return {name: f"{self.statuses[name]} {self.setting.entry(name).get('error.type')}, {self.setting.backend.heads[name]} sent" for name in failed[:10]}

    def check_unsafe(self) -> None:
        """No POST has come twice after it may have had an effect."""
        backend = self.setting.backend
        twice = {name: count for name, count in backend.acts.items() if count > 1 and backend.methods[name] == "POST"}
        assert twice == {}, "sent twice"


# HTTP/1.1


def after(good: int, act: Callable[[Peer], None]) -> Scenario:
    """Serves, and then does `act` with the next request."""

    def scenario(peer: Peer) -> None:
        peer.serve(good)
        act(peer)

    return scenario


def closes_with_request(peer: Peer) -> None:
    peer.taken(peer.request())
    peer.close()


def resets_with_request(peer: Peer) -> None:
    peer.taken(peer.request())
    peer.reset()


def closes_in_head(peer: Peer) -> None:
    peer.taken(peer.request())
    peer.send(GOOD[:20])
    peer.close()


def hangs(peer: Peer) -> None:
    peer.taken(peer.request())
    peer.wait_end(10)


def answers_503(peer: Peer) -> None:
    peer.taken(peer.request())
    peer.send(head(503, "Content-Length: 4", "Connection: close", reason="Not now") + b"busy")
    peer.close()


def closes_when_idle(peer: Peer) -> None:
    peer.close()


def says_close(peer: Peer) -> None:
    request = peer.request()
    peer.taken(request)
    peer.send(head(200, f"Content-Length: {len(BODY)}", "Connection: close") + BODY)
    peer.shut()


#: Good, but not for ever: so that others have their turn.
good = after(40, says_close)


BREAKING: dict[str, tuple[Callable[[Peer], None], dict]] = {  # type: ignore[type-arg]
    "closes with the request": (closes_with_request, {}),
    "resets with the request": (resets_with_request, {}),
    "closes within the head": (closes_in_head, {}),
    "hangs": (hangs, {"retry_on_timeout": True}),
    "answers 503": (answers_503, {"retry_on_5xx": True}),
}


@pytest.mark.parametrize("act,conditions", BREAKING.values(), ids=BREAKING)
def test_http1(behind: Behind, act: Callable[[Peer], None], conditions: dict) -> None:  # type: ignore[type-arg]
    """One connection in four breaks, some with their first request and some with a later one. Nothing is seen by those who GET;
    a POST that had reached the backend fails, and is not sent again."""
    setting = behind(after(2, act), good, after(0, act), after(20, act), good, after(7, act), good, good, cycle=True,
                     proxy={"retry": {"max_retries": 10, **conditions}, "response_timeout_ms": 200})
    busy = Busy(setting).join()
    assert busy.failed("GET") == {}
    busy.check_unsafe()
    assert max((setting.backend.heads[name] for name in busy.statuses if name.startswith("POST")), default=0) <= 1
    for name, why in busy.failed("POST").items():
        assert setting.backend.acts[name] == 1, f"{name}: {why}"


def test_over_tls(behind: Behind, tmp_path: Path) -> None:
    """The same where the backend speaks TLS; some connections do not get through the handshake, before which nothing was sent."""
    authority = Authority(tmp_path / "authority")
    site = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.chain, site.key)

    def over_tls(scenario: Scenario) -> Scenario:
        def inside(peer: Peer) -> None:
            peer.sock = context.wrap_socket(peer.sock, server_side=True)
            peer.reader.sock = peer.sock
            scenario(peer)

        return inside

    def breaks_the_handshake(peer: Peer) -> None:
        peer.reader.some(65_536)
        peer.reset()

    setting = behind(over_tls(after(3, closes_with_request)), over_tls(good), breaks_the_handshake, over_tls(after(9, resets_with_request)), over_tls(good),
                     over_tls(after(0, closes_in_head)), cycle=True, proxy=RETRY,
                     upstream={"tls": {"enabled": True, "ca_file": str(authority.root.chain), "sni_hostname": "localhost"}})
    busy = Busy(setting).join()
    assert busy.failed("GET") == {}
    busy.check_unsafe()
    for name, why in busy.failed("POST").items():
        assert setting.backend.acts[name] == 1, f"{name}: {why}"


def test_http1_polite_ends(behind: Behind) -> None:
    """A backend that ends its connections as it should is not noticed by anyone."""
    setting = behind(after(3, says_close), after(0, says_close), good, cycle=True, proxy=RETRY)
    busy = Busy(setting).join()
    assert busy.failed("GET") == busy.failed("POST") == {}
    assert max(setting.backend.heads.values()) == 1


def test_http1_early_close_of_kept_connections(behind: Behind) -> None:
    """Closed just after a response: those who GET see nothing of it."""
    setting = behind(after(3, closes_when_idle), after(1, closes_when_idle), cycle=True, proxy=RETRY)
    busy = Busy(setting).join()
    assert busy.failed("GET") == {}
    busy.check_unsafe()
    # The request was not read; the gateway cannot know, and does not send it twice either.
    assert max(setting.backend.heads[name] for name in busy.statuses if name.startswith("POST")) <= 1


def test_connections_refused_for_a_while(behind: Behind) -> None:
    """Nothing was sent, so a POST is tried again as well."""
    setting = behind(after(5, says_close), proxy=RETRY)
    busy = Busy(setting, seconds=2.5)
    backend = setting.backend
    for _ in range(3):
        time.sleep(0.4)
        backend.listener.shutdown(socket.SHUT_RDWR)
        backend.listener.close()
        time.sleep(0.1)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", backend.port))
        listener.listen(512)
        backend.listener = listener
        threading.Thread(target=backend._accept, daemon=True).start()
    busy.join()
    assert busy.failed("GET") == {}
    # Connections that the kernel has taken, and nobody has accepted, are reset with the listener: then something was sent.
    assert set(busy.failed("POST").values()) <= {"502 connection_terminated, 0 sent"}


def closes_within_the_body(peer: Peer) -> None:
    peer.part_of_request(10_000)
    peer.reset()


def test_bodies_are_sent_again_whole(behind: Behind) -> None:
    """What is sent again is what was sent before, from its beginning."""
    setting = behind(after(2, closes_within_the_body), good, after(0, closes_with_request), after(5, closes_within_the_body), after(9, closes_in_head),
                     good, cycle=True, proxy=RETRY)
    busy = Busy(setting, methods=("PUT", "GET")).join()
    assert busy.failed("PUT") == busy.failed("GET") == {}


# HTTP/2


def serving(each: Callable[[Peer2, Request2, int], bool]) -> Scenario:
    """Calls `each` with every request, and serves those for which it is false."""

    def scenario(peer: Peer) -> None:
        server, count = Peer2(peer), 0
        while True:
            asked = server.head()
            count += 1
            if each(server, asked, count):
                continue
            while not asked.ended and asked.reset is None:
                server.step()
            if asked.reset is None:
                server.answer(asked)

    return scenario


def refuses_some(server: Peer2, asked: Request2, count: int) -> bool:
    if count % 5:
        return False
    server.reset(asked.stream, 7)
    return True


def goes_away(server: Peer2, asked: Request2, count: int) -> bool:
    """After 20 streams: what is open is answered, what comes later is not looked at."""
    if count < 20:
        return False
    server.goaway(asked.stream)
    open_requests = [asked] + [one for one in server.requests.values() if not one.ended and one.stream < asked.stream]
    for one in open_requests:
        while not one.ended:
            server.step()
    # `step` also records streams that came behind GOAWAY: they are dropped.
    server.answer(asked)
    time.sleep(0.02)
    server.peer.shut()
    raise Closed()


def fails_some(server: Peer2, asked: Request2, count: int) -> bool:
    """INTERNAL_ERROR: may have had an effect."""
    if count % 7:
        return False
    server.peer.backend.take(asked.header("x-request-id") or "")
    server.reset(asked.stream, 2)
    return True


def breaks_off(server: Peer2, asked: Request2, count: int) -> bool:
    if count < 15:
        return False
    server.peer.backend.take(asked.header("x-request-id") or "")
    server.peer.reset()
    raise Closed()


@pytest.mark.parametrize("each", [refuses_some, goes_away])
def test_http2_surely_unprocessed(behind: Behind, each: Callable[[Peer2, Request2, int], bool]) -> None:
    """Nobody sees anything, whatever the method."""
    setting = behind(serving(each), upstream=H2, proxy=RETRY)
    busy = Busy(setting).join()
    assert busy.failed("GET") == busy.failed("POST") == {}
    busy.check_unsafe()


@pytest.mark.parametrize("each", [refuses_some, fails_some, breaks_off])
def test_http2_bodies_are_sent_again_whole(behind: Behind, each: Callable[[Peer2, Request2, int], bool]) -> None:
    setting = behind(serving(each), upstream=H2, proxy=RETRY)
    busy = Busy(setting, methods=("PUT", "GET")).join()
    assert busy.failed("PUT") == busy.failed("GET") == {}


@pytest.mark.parametrize("each", [fails_some, breaks_off])
def test_http2_maybe_processed(behind: Behind, each: Callable[[Peer2, Request2, int], bool]) -> None:
    setting = behind(serving(each), upstream=H2, proxy=RETRY)
    busy = Busy(setting).join()
    assert busy.failed("GET") == {}
    busy.check_unsafe()
    assert max((setting.backend.heads[name] for name in busy.statuses if name.startswith("POST")), default=0) <= 1
    if each is fails_some:
        for name, why in busy.failed("POST").items():
            assert setting.backend.acts[name] == 1, f"{name}: {why}"


def test_a_bit_of_everything(behind: Behind) -> None:
    """Whatever happens, every request has an end, every line one outcome, and the worker lives."""
    dice = random.Random(11)
    acts = [closes_with_request, resets_with_request, closes_in_head, answers_503, closes_when_idle, says_close, hangs]
    scenarios = [after(dice.randrange(30), dice.choice(acts)) if dice.random() < 0.7 else good for _ in range(60)]
    setting = behind(*scenarios, cycle=True, proxy={"retry": {"max_retries": 10, "retry_on_5xx": True, "retry_on_timeout": True}, "response_timeout_ms": 200})
    worker = setting.gateway.worker
    busy = Busy(setting, methods=("GET", "POST", "PUT", "DELETE"), threads=12, seconds=3).join()
    assert busy.failed("GET") == busy.failed("PUT") == busy.failed("DELETE") == {}
    busy.check_unsafe()
    assert setting.gateway.worker == worker
    entries = [one for one in setting.gateway.access_entries(len(busy.statuses)) if one.get("gateway.request_id") in busy.statuses]
    assert len(entries) == len(busy.statuses), "each request has one line"
    for one in entries:
        assert busy.statuses[one["gateway.request_id"]] in (one["http.response.status_code"], None)
        assert ("error.type" in one) == (one["http.response.status_code"] in (502, 504) or busy.statuses[one["gateway.request_id"]] is None), one
