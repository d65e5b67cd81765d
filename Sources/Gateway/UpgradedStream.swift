// UpgradedStream — WebSockets on streams of HTTP/2 (RFC 8441): DATA frames are their bytes, END_STREAM their FIN.
//
// To the rooms of tunnels and endpoints a stream reads and ends like a socket. What has come and is not taken yet waits in the
// stream's record, bounded by its window, which is given back as bytes are taken.

import HTTP2
import HTTPModel
import Kernel
import Memory
import SharedState

extension Gateway {
  /// Bytes of a WebSocket have come on a stream, maybe before the backend has agreed.
  mutating func receiveUpgraded(_ client: Handle, _ exchange: Handle, _ bytes: Span<UInt8>) {
    streams[clients[client].carrier].incoming.append(bytes, &services.small)
    clients[client].flags.insert(.readable)
    if exchanges[exchange].flags.contains(.upgraded) { serveUpgraded(client, exchange) }
  }

  /// The client has ended its side of the stream.
  mutating func endUpgraded(_ client: Handle, _ exchange: Handle) {
    clients[client].flags.formUnion([.readable, .ended])
    if exchanges[exchange].flags.contains(.upgraded) { serveUpgraded(client, exchange) }
  }

  /// Reads bytes of a WebSocket, with the semantics of a socket, from whatever carries its client.
  @inline(__always)
  mutating func receiveUpgraded(_ client: Handle, into buffer: inout Buffer) -> Transfer {
    clients[client].flags.contains(.stream) ? takeIncoming(client, into: &buffer) : receive(client, into: &buffer)
  }

  @inline(never)
  private mutating func takeIncoming(_ client: Handle, into buffer: inout Buffer) -> Transfer {
    let stream = clients[client].carrier
    var count = 0
    while buffer.freeCapacity > 0, !streams[stream].incoming.isEmpty {
      let amount = streams[stream].incoming.withFront { buffer.appendPrefix(of: $0) }
      streams[stream].incoming.consume(amount, &services.small)
      count += amount
    }
    guard count > 0 else { return streams[stream].flags.contains(.ended) ? .ended : .blocked }
    giveBack(stream, count)
    // They were counted when the connection was read.
    counters.subtract(.bytesReceived, UInt64(count))
    return .moved(count)
  }

  /// Tells the client of a WebSocket that nothing more comes; false when that has to wait.
  mutating func endSending(_ client: Handle) -> Bool {
    guard clients[client].flags.contains(.stream) else {
      guard sayGoodbye(client) else { return false }
      clients[client].socket.endSending()
      return true
    }
    streams[clients[client].carrier].flags.insert(.over)
    streamHasMore(client)
    return true
  }
}
