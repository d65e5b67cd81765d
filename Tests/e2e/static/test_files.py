"""Files: which path leads to which, what is refused, and what the answers look like."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import stat
from email.utils import formatdate
from pathlib import Path

import pytest

from support import proc
from support.client import Client
from support.configuration import respond
from support.gateway import Gateway
from support.http2 import Http2
from support.wait import until


def site(root: Path) -> Path:
    """A directory with something of every kind, and a secret beside it."""
    www = root / "www"
    (www / "docs" / "deep").mkdir(parents=True)
    (www / "empty").mkdir()
    (www / ".git").mkdir()
    (www / ".well-known").mkdir()
    files = {"index.html": b"<h1>root</h1>", "docs/index.html": b"<h1>docs</h1>", "docs/deep/page.txt": b"deep", "a b.txt": b"blank", "\u00e4.txt": b"umlaut",
             "style.css": b"a{}", "app.js": b"1", "data.json": b"{}", "pic.png": b"\x89PNG", "UPPER.HTML": b"x", "noext": b"?", "x.unknownext": b"?", "zero": b"",
             ".secret": b"secret", ".git/config": b"secret", ".well-known/security.txt": b"Contact: x", "docs/.hidden": b"secret", "100%.txt": b"percent",
             "page.tar.gz": b"tar", "index.html.bak": b"old", "..odd": b"odd", "a;b.txt": b"semicolon", "a+b.txt": b"plus", "wasm.wasm": b"\0asm"}
    for name, content in files.items():
        (www / name).write_bytes(content)
    (root / "secret.txt").write_bytes(b"secret")
    (root / "www2").mkdir()
    (root / "www2" / "secret.txt").write_bytes(b"secret")
    os.symlink("../secret.txt", www / "out.txt")
    os.symlink(root / "secret.txt", www / "absolute.txt")
    os.symlink("/etc/passwd", www / "passwd")
    os.symlink("../../www2", www / "docs" / "outdir")
    os.symlink("docs/deep/page.txt", www / "inside.txt")
    os.symlink("docs", www / "linked")
    os.symlink("loop", www / "loop")
    os.mkfifo(www / "fifo")
    sock = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(www)
    try:
        sock.bind("socket")
    finally:
        os.chdir(here)
        sock.close()
    (www / "unreadable").write_bytes(b"secret")
    (www / "unreadable").chmod(0)
    return www


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def gateway(launch_shared, www: Path) -> Gateway:
    return launch_shared(access_log={"format": "json"}, routes=[
        {"path": "/*file", "static": {"root": str(www)}},
        {"path": "/assets/*file", "static": {"root": str(www), "cache_control": "public, max-age=60", "index": []}},
        {"path": "/strict/*file", "static": {"root": str(www), "symlinks": "never", "hidden": True}},
        {"path": "/loose/*file", "static": {"root": str(www), "symlinks": "all"}},
        {"path": "/app/*file", "static": {"root": str(www), "fallback": "docs/index.html"}},
        {"path": "/types/*file", "static": {"root": str(www), "default_type": "", "charset": "", "types": [{"extensions": ["unknown", "css"], "type": "text/x-own"}]}},
        respond("/fixed"),
    ])


@pytest.mark.parametrize("path, body, kind", [
    ("/", b"<h1>root</h1>", "text/html; charset=utf-8"),
    ("/index.html", b"<h1>root</h1>", "text/html; charset=utf-8"),
    ("/docs/", b"<h1>docs</h1>", "text/html; charset=utf-8"),
    ("/docs/deep/page.txt", b"deep", "text/plain; charset=utf-8"),
    ("/docs/deep/../deep/./page.txt", b"deep", "text/plain; charset=utf-8"),
    ("//docs///deep//page.txt", b"deep", "text/plain; charset=utf-8"),
    ("/a%20b.txt", b"blank", "text/plain; charset=utf-8"),
    ("/%C3%A4.txt", b"umlaut", "text/plain; charset=utf-8"),
    ("/100%25.txt", b"percent", "text/plain; charset=utf-8"),
    ("/a;b.txt", b"semicolon", "text/plain; charset=utf-8"),
    ("/a+b.txt", b"plus", "text/plain; charset=utf-8"),
    ("/style.css?v=1", b"a{}", "text/css; charset=utf-8"),
    ("/app.js", b"1", "text/javascript; charset=utf-8"),
    ("/data.json", b"{}", "application/json"),
    ("/pic.png", b"\x89PNG", "image/png"),
    ("/UPPER.HTML", b"x", "text/html; charset=utf-8"),
    ("/noext", b"?", "application/octet-stream"),
    ("/x.unknownext", b"?", "application/octet-stream"),
    ("/page.tar.gz", b"tar", "application/gzip"),
    ("/wasm.wasm", b"\0asm", "application/wasm"),
    ("/zero", b"", "application/octet-stream"),
    ("/.well-known/security.txt", b"Contact: x", "text/plain; charset=utf-8"),
    ("/inside.txt", b"deep", "text/plain; charset=utf-8"),
    ("/linked/deep/page.txt", b"deep", "text/plain; charset=utf-8"),
    ("/linked/", b"<h1>docs</h1>", "text/html; charset=utf-8"),
    ("/assets/docs/deep/page.txt", b"deep", "text/plain; charset=utf-8"),
    ("/strict/.secret", b"secret", "application/octet-stream"),
    ("/loose/out.txt", b"secret", "text/plain; charset=utf-8"),
    ("/loose/docs/outdir/secret.txt", b"secret", "text/plain; charset=utf-8"),
    ("/app/no/such/page", b"<h1>docs</h1>", "text/html; charset=utf-8"),
    ("/types/style.css", b"a{}", "text/x-own"),
    ("/types/noext", b"?", None),
])
def test_what_is_served(gateway: Gateway, path: str, body: bytes, kind: str | None) -> None:
    with Client(gateway.port) as client:
        answer = client.request("GET", path)
        assert (answer.status, answer.body, answer.header("content-type")) == (200, body, kind)
        assert answer.header("content-length") == str(len(body)) and answer.header("accept-ranges") == "bytes"
        head = client.request("HEAD", path)
        assert (head.status, head.body, head.header("content-length"), head.header("etag")) == (200, b"", str(len(body)), answer.header("etag"))
    with Http2(gateway.port) as client:
        answer2 = client.get(path)
        assert (answer2.status, answer2.body) == (200, body)


TRAVERSAL = [
    "/../secret.txt", "/docs/../../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt", "/%252e%252e/secret.txt", "/..%252fsecret.txt",
    "/..\\secret.txt", "/..%5csecret.txt", "/%5c..%5csecret.txt", "/....//secret.txt", "/..;/secret.txt", "/.%2e/secret.txt", "/%c0%ae%c0%ae/secret.txt",
    "/%c0%af..%c0%afsecret.txt", "/%e0%80%ae%e0%80%ae/secret.txt", "/%uff0e%uff0e/secret.txt", "/docs/..%00/secret.txt", "/secret.txt%00.html",
    "/index.html%00", "/%00", "/assets/../../secret.txt", "/assets/..%2f..%2fsecret.txt", "/assets../secret.txt", "/assets%2f..%2f..%2fsecret.txt",
    "/assets//../../secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "//etc/passwd", "/%2fetc/passwd", "/../../../../../../etc/passwd", "/docs/outdir/secret.txt",
    "/out.txt", "/absolute.txt", "/passwd", "/docs/%2e%2e/%2e%2e/www2/secret.txt", "/.git/config", "/.secret", "/docs/.hidden", "/%2egit/config", "/..odd",
    "/docs/deep/.well-known/x", "/.well-known/../.secret", "/loop", "/strict/out.txt", "/strict/inside.txt", "/strict/linked/", "/index.html/", "/index.html/x",
    "/" + "a" * 300, "/" + "/".join(["a" * 200] * 30), "/nothing", "/empty/", "/assets/docs/", "/fifo", "/socket", "/docs/deep/", "/www2/secret.txt",
]


@pytest.mark.parametrize("path", TRAVERSAL)
def test_what_is_not(gateway: Gateway, path: str) -> None:
    with Client(gateway.port) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
        answer = client.read()
        assert answer.status in (400, 403, 404), answer.status
        assert b"secret" not in answer.body and b"root:" not in answer.body
    if not path.startswith("/" + "a" * 200):
        with Http2(gateway.port) as client:
            assert client.get(path).status in (400, 403, 404)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_forbidden(gateway: Gateway) -> None:
    answer = gateway.get("/unreadable")
    assert answer.status == 403


def test_a_fifo_and_a_socket_are_forbidden_and_nobody_waits(gateway: Gateway) -> None:
    assert [gateway.get(path).status for path in ("/fifo", "/socket", "/index.html")] == [403, 403, 200]


def test_other_methods_are_not_allowed(gateway: Gateway) -> None:
    with Client(gateway.port) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = client.request(method, "/index.html", body=b"x" if method != "DELETE" else b"")
            assert answer.status == 405 and answer.header("allow") == "GET, HEAD"
        assert client.request("GET", "/fixed").body == b"ok"


@pytest.mark.parametrize("path, location", [
    ("/docs", "/docs/"), ("/docs?a=b", "/docs/?a=b"), ("/linked", "/linked/"), ("/assets/docs", "/assets/docs/"), ("//docs", "/docs/"), ("/docs/deep", "/docs/deep/"),
    ("///docs/../docs", "/docs/"), ("/.//docs", "/docs/"),
])
def test_a_directory_has_a_slash(gateway: Gateway, path: str, location: str) -> None:
    with Client(gateway.port) as client:
        answer = client.request("GET", path)
        assert (answer.status, answer.header("location")) == (301, location)


def test_fields(gateway: Gateway, www: Path) -> None:
    facts = (www / "style.css").stat()
    answer = gateway.get("/assets/style.css")
    assert answer.header("last-modified") == formatdate(int(facts.st_mtime), usegmt=True)
    assert answer.header("etag") == f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    assert answer.header("cache-control") == "public, max-age=60" and gateway.get("/style.css").header("cache-control") is None
    assert answer.header("server") == "gateway" and answer.header("x-request-id") and answer.header("date")


def test_log_and_counters(gateway: Gateway) -> None:
    gateway.get("/nothing-here")
    entry = until(lambda: next((entry for entry in gateway.access_entries(0) if entry.get("url.path") == "/nothing-here"), None), what="the line in the access log")
    assert entry["error.type"] == "file_not_found" and entry["http.route"] == "/*file"


# Long files


def test_long_files_over_every_protocol(launch, tmp_path: Path) -> None:
    body = os.urandom(1 << 20) * 10
    (tmp_path / "long.bin").write_bytes(body)
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}], access_log={"format": "json"})
    digest = hashlib.sha256(body).hexdigest()
    with Client(gateway.port) as client:
        for _ in range(3):
            answer = client.request("GET", "/long.bin")
            assert answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == digest
        # Pipelined behind and before small ones.
        client.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in ("/none", "/long.bin", "/none", "/long.bin")))
        answers = [client.read() for _ in range(4)]
        assert [answer.status for answer in answers] == [404, 200, 404, 200] and answers[1].body == body and answers[3].body == body
    with Http2(gateway.port) as client:
        answer = client.get("/long.bin")
        assert answer.status == 200 and answer.body == body
    entries = gateway.access_entries(8)
    assert [entry["http.response.body.size"] for entry in entries if entry["http.response.status_code"] == 200] == [len(body)] * 6


def test_a_slow_reader_costs_no_memory_and_holds_up_nobody(launch, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(os.urandom(64 << 20))
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}])
    before = proc.memory(gateway.worker)
    slow = [Client(gateway.port) for _ in range(8)]
    streams = [Http2(gateway.port) for _ in range(4)]
    for client in slow:
        client.send("GET /long.bin HTTP/1.1\r\nHost: a\r\n\r\n")
    for stream in streams:
        stream.request("GET", "/long.bin")
    assert gateway.get("/none").status == 404
    assert proc.memory(gateway.worker) - before < 16 << 20
    for client in slow + streams:
        client.sock.close()


def test_a_file_that_shrinks_is_cut_off(launch, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(os.urandom(32 << 20))
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}], access_log={"format": "json"})
    with Client(gateway.port) as client:
        client.send("GET /long.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        start = client.reader.until(b"\r\n\r\n")
        assert b"Content-Length: 33554432\r\n" in start
        os.truncate(tmp_path / "long.bin", 1 << 20)
        received = len(client.reader.buffer)
        try:
            while data := client.sock.recv(1 << 20):
                received += len(data)
        except ConnectionResetError:
            pass
        assert received < 32 << 20
    assert gateway.access_entries(1)[0]["error.type"] == "file_truncated"


def test_a_client_that_leaves(launch, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(os.urandom(32 << 20))
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}], access_log={"format": "json"})
    with Client(gateway.port) as client:
        client.send("GET /long.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reader.exactly(1000)
        client.reset()
    assert gateway.access_entries(1)[0]["error.type"] == "client_aborted"
    until(lambda: not [name for name in open_files(gateway.worker) if name.endswith("long.bin")], what="the file to be closed")


def open_files(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    names = []
    for entry in folder.iterdir():
        try:
            names.append(os.readlink(entry))
        except OSError:
            pass
    return names


def test_without_descriptors(launch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}])
    with Client(gateway.port) as client:
        assert client.request("GET", "/a.txt").status == 200
        used = max(int(entry.name) for entry in Path(f"/proc/{gateway.worker}/fd").iterdir()) + 1
        free = set(range(used)) - {int(entry.name) for entry in Path(f"/proc/{gateway.worker}/fd").iterdir()}
        resource.prlimit(gateway.worker, resource.RLIMIT_NOFILE, (used - len(free), resource.getrlimit(resource.RLIMIT_NOFILE)[1])) if not free else None
        if not free:
            answer = client.request("GET", "/a.txt")
            assert answer.status == 503
            assert b"file_descriptors_exhausted" in client.request("GET", "/a.txt", "Accept: application/json").body
            resource.prlimit(gateway.worker, resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        assert client.request("GET", "/a.txt").status == 200


def test_a_root_that_is_switched_is_seen(launch, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "v.txt").write_text(name)
    os.symlink("one", tmp_path / "current")
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path / "current")}}])
    assert gateway.get("/v.txt").body == b"one"
    os.symlink("two", tmp_path / "next")
    os.replace(tmp_path / "next", tmp_path / "current")
    until(lambda: gateway.get("/v.txt").body == b"two", what="the other release")


def test_a_root_that_is_gone_is_not_a_file_that_is_missing(launch, tmp_path: Path) -> None:
    root = tmp_path / "www"
    root.mkdir()
    (root / "a.txt").write_text("a")
    gateway: Gateway = launch(access_log=True, routes=[{"path": "/*file", "static": {"root": str(root)}}])
    assert (gateway.get("/a.txt").status, gateway.get("/b.txt").status) == (200, 404)
    root.rename(tmp_path / "elsewhere")
    until(lambda: gateway.get("/a.txt").status == 500, what="the root to be missed")
    until(lambda: [one for one in gateway.access_entries() if one.get("error.type") == "file_unreadable"], what="the line of the fault")
    assert "file_unreadable" in gateway.log and "(No such file or directory)" in gateway.log
    (tmp_path / "elsewhere").rename(root)
    until(lambda: gateway.get("/a.txt").status == 200, what="the root to be found")


def test_a_request_body_is_no_next_request(launch, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(b"x" * (1 << 20))
    (tmp_path / "a.txt").write_bytes(b"a")
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}])
    smuggled = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"
    with Client(gateway.port) as client:
        client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        assert client.read().body == b"a"
        assert client.request("GET", "/none").status == 404
    with Client(gateway.port) as client:
        client.send(b"GET /long.bin HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        answer = client.read()
        assert len(answer.body) == 1 << 20 and answer.header("connection") == "close"
        assert client.sock.recv(100) == b""


def test_draining_lets_files_end(launch, tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(os.urandom(8 << 20))
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path)}}])
    with Client(gateway.port) as client:
        client.send("GET /long.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reader.until(b"\r\n\r\n")
        gateway.reload(routes=[respond("/")])
        assert len(client.reader.exactly(8 << 20)) == 8 << 20


# Files beside others


def test_coded_files_are_sent_in_their_place(launch, tmp_path: Path) -> None:
    for name, content in {"a.css": b"plain", "a.css.gz": b"gzipped", "a.css.br": b"brotli", "b.css": b"plain", "b.css.gz": b"gzipped", "c.css": b"plain"}.items():
        (tmp_path / name).write_bytes(content)
    gateway: Gateway = launch(routes=[{"path": "/*file", "static": {"root": str(tmp_path), "precompressed": ["br", "gzip"]}}])

    def got(path: str, accept: str | None) -> tuple[bytes, str | None]:
        answer = gateway.get(path, *([] if accept is None else [f"Accept-Encoding: {accept}"]))
        assert answer.header("vary") == "Accept-Encoding" and answer.header("content-type") == "text/css; charset=utf-8"
        return answer.body, answer.header("content-encoding")
    assert got("/a.css", None) == (b"plain", None) and got("/a.css", "") == (b"plain", None)
    assert got("/a.css", "gzip, deflate, br") == (b"brotli", "br")
    assert got("/a.css", "gzip") == (b"gzipped", "gzip") and got("/a.css", "br;q=0, gzip;q=0.1") == (b"gzipped", "gzip")
    assert got("/b.css", "br, gzip") == (b"gzipped", "gzip") and got("/b.css", "*") == (b"gzipped", "gzip")
    assert got("/c.css", "br, gzip") == (b"plain", None) and got("/a.css", "identity") == (b"plain", None)
    assert gateway.get("/a.css", "Accept-Encoding: br").header("etag") != gateway.get("/a.css").header("etag")
