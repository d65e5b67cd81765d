"""One HTTP/2 connection of either side, by the `h2` library, which refuses whatever RFC 9113 forbids.

A thread moves bytes; other threads open, write and read streams. Windows are given back only as a body is taken, so that a slow
reader is slow for its peer too.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

Fields = list[tuple[bytes, bytes]]

#: What waits for the socket before a writer does.
WAITING = 1 << 20
WINDOW = 1 << 20


class Reset(Exception):
    """The peer reset the stream, or the connection is gone (no code)."""

    def __init__(self, code: int | None) -> None:
        super().__init__("the connection ended" if code is None else f"reset with {h2.errors.ErrorCodes(code).name}")
        self.code = code


class Stream:
    """A stream; everything here waits for at most the link's timeout."""

    def __init__(self, link: "Link", number: int) -> None:
        self.link, self.number = link, number
        self.interims: list[Fields] = []
        self.fields: Fields | None = None
        self.pieces: deque[tuple[bytes, int]] = deque()
        self.trailers: Fields = []
        self.ended = False
        self.reset: int | None = None
        self.written = 0

    # Reading

    def head(self) -> Fields:
        """The request's or final response's fields."""
        self.link.wait(lambda: self.fields is not None or self.gone, f"a head on stream {self.number}")
        if self.fields is None:
            raise Reset(self.reset)
        return self.fields

    def read(self) -> bytes:
        """The next piece of the body; empty at its end."""
        self.link.wait(lambda: bool(self.pieces) or self.ended or self.gone, f"DATA on stream {self.number}")
        with self.link.changed:
            if self.pieces:
                data, charged = self.pieces.popleft()
                self.link.acknowledge(self.number, charged)
                return data
        if not self.ended:
            raise Reset(self.reset)
        return b""

    def body(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece

    @property
    def gone(self) -> bool:
        return self.reset is not None or self.link.closed

    # Writing

    def headers(self, fields: list[tuple[str | bytes, str | bytes]], end: bool = False) -> None:
        self._act(lambda h2c: h2c.send_headers(self.number, fields, end_stream=end))

    def send(self, data: bytes, end: bool = False) -> None:
        """Sends all of `data` as the windows allow."""
        view = memoryview(data)
        link = self.link
        while True:
            link.wait(lambda: self.gone or (len(link.out) < WAITING and (not view or link.window(self.number) > 0)),
                      f"a window on stream {self.number} after {self.written} bytes")
            with link.changed:
                if self.gone:
                    raise Reset(self.reset)
                room = min(len(view), max(0, link.window(self.number)), WAITING)
                limit = link.h2.max_outbound_frame_size
                for start in range(0, room, limit):
                    link.h2.send_data(self.number, bytes(view[start:min(room, start + limit)]))
                self.written += room
                view = view[room:]
                if not view and end:
                    link.h2.end_stream(self.number)
                link.flush()
                if not view:
                    return

    def abort(self, code: int = 8) -> None:
        """RST_STREAM."""
        self._act(lambda h2c: h2c.reset_stream(self.number, code))

    def _act(self, act: Callable[[h2.connection.H2Connection], None]) -> None:
        with self.link.changed:
            if self.gone:
                raise Reset(self.reset)
            try:
                act(self.link.h2)
            except h2.exceptions.StreamClosedError:
                raise Reset(self.reset) from None
            self.link.flush()


class Link:
    """`opened` is called, in a thread of its own, with each stream that the peer opens."""

    def __init__(self, sock: socket.socket, client: bool, opened: Callable[[Stream], None] | None = None, timeout: float = 20,
                 settings: dict[int, int] | None = None) -> None:
        self.sock, self.client, self.opened, self.timeout = sock, client, opened, timeout
        self.changed = threading.Condition()
        self.streams: dict[int, Stream] = {}
        self.out = bytearray()
        self.closed = False
        self.was_reset = False
        #: What the peer did against the rules.
        self.error: Exception | None = None
        self.goaway: tuple[int, int] | None = None
        self._wake, self._woken = os.pipe()
        self._stopping = False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding=False))
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values={
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW, h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100,
            **({h2.settings.SettingCodes.ENABLE_PUSH: 0} if client else {}), **(settings or {})})  # type: ignore[dict-item]
        with self.changed:
            self.h2.initiate_connection()
            # Room for every stream, so that slow ones hold up nobody.
            self.h2.increment_flow_control_window(100 * WINDOW)
            self.out += self.h2.data_to_send()
        sock.setblocking(False)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def open(self, fields: list[tuple[str | bytes, str | bytes]], end: bool) -> Stream:
        """Sends a request's head."""
        with self.changed:
            if self.closed:
                raise Reset(None)
            stream = Stream(self, self.h2.get_next_available_stream_id())
            self.streams[stream.number] = stream
            self.h2.send_headers(stream.number, fields, end_stream=end)
            self.flush()
        return stream

    def close(self, reset: bool = False) -> None:
        """Ends the connection, once what was written has been sent, or with RST."""
        if reset:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        self._stopping = True
        self.flush()
        self.thread.join(5)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        with self.changed:
            if not self.changed.wait_for(condition, self.timeout):
                raise AssertionError(f"no {what} within {self.timeout} s{f'; {self.error!r}' if self.error else ''}")

    def window(self, number: int) -> int:
        try:
            return self.h2.local_flow_control_window(number)
        except (h2.exceptions.StreamClosedError, KeyError):
            return 0

    def acknowledge(self, number: int, count: int) -> None:
        if count and not self.closed:
            try:
                self.h2.acknowledge_received_data(count, number)
            except h2.exceptions.ProtocolError:
                pass
            self.flush()

    def flush(self) -> None:
        """Hands what the library has to say to the thread that moves bytes."""
        with self.changed:
            self.out += self.h2.data_to_send()
        if threading.current_thread() is not self.thread:
            try:
                os.write(self._woken, b"x")
            except OSError:
                pass

    # The thread

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self.sock, selectors.EVENT_READ)
        selector.register(self._wake, selectors.EVENT_READ)
        try:
            while not self._stopping or self.out:
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
                selector.modify(self.sock, wanted)
                for key, _ in selector.select(1):
                    if key.fd == self._wake:
                        os.read(self._wake, 65_536)
                if not self._write() or not self._read():
                    break
                if self._stopping and self.was_reset:
                    break
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
        except (OSError, ValueError) as error:
            self.error = self.error or (None if self._stopping else error)
        except h2.exceptions.ProtocolError as error:
            self.error = error
            self.out += self.h2.data_to_send()
            try:
                self._write()
            except OSError:
                pass
        finally:
            with self.changed:
                self.closed = True
                self.changed.notify_all()
            selector.close()
            self.sock.close()
            fds, self._wake, self._woken = (self._wake, self._woken), -1, -1
            for fd in fds:
                os.close(fd)

    def _write(self) -> bool:
        with self.changed:
            try:
                while self.out:
                    sent = self.sock.send(memoryview(self.out)[:262_144])
                    del self.out[:sent]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            self.changed.notify_all()
        return True

    def _read(self) -> bool:
        for _ in range(16):
            try:
                data = self.sock.recv(262_144)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data:
                return False
            with self.changed:
                for event in self.h2.receive_data(data):
                    self._act(event)
                self.out += self.h2.data_to_send()
                self.changed.notify_all()
            self._write()
        # TLS may hold more than the socket shows.
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return self._read()
        return True

    def _act(self, event: h2.events.Event) -> None:
        number = getattr(event, "stream_id", None) or 0
        if isinstance(event, h2.events.RequestReceived):
            stream = self.streams[number] = Stream(self, number)
            stream.fields = list(event.headers)
            assert self.opened is not None
            threading.Thread(target=self.opened, args=(stream,), daemon=True).start()
            return
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = (event.last_stream_id or 0, int(event.error_code or 0))
            return
        stream = self.streams.get(number)
        if stream is None:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            stream.interims.append(list(event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            stream.fields = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.pieces.append((bytes(event.data), event.flow_controlled_length or 0))
            if not event.data:
                stream.pieces.pop()
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, number) if event.flow_controlled_length else None
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code or 0)


def settled(link: Link, seconds: float) -> bool:
    """Whether the connection is over within `seconds`."""
    deadline = time.monotonic() + seconds
    while not link.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    return link.closed
