"""Makes connections with TLS one after the other; run by load.handshakes, so that another processor can do it.

Arguments: port, certificate to trust, path, "new" or "resumed", count.
"""

import socket
import ssl
import sys

port, authority, path, kind, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
context = ssl.create_default_context(cafile=authority)
request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
session = None
for number in range(count):
    raw = socket.create_connection(("127.0.0.1", port), 30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(raw, server_hostname="localhost", session=session) as sock:
        sock.sendall(request)
        answer = b""
        while data := sock.recv(65_536):
            answer += data
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(f"not a 200: {answer[:100]!r}")
        if number > 0 and sock.session_reused != (kind == "resumed"):
            sys.exit("a session was " + ("resumed" if sock.session_reused else "not resumed"))
        if kind == "resumed":
            session = sock.session
