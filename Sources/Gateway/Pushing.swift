// Pushing — server push (RFC 9113 §8.4), where it is switched on and the client takes it.
//
// What a response's Link fields ask to be preloaded is promised before its head goes out. Each promise is a request of the
// client's, as it were: a stream and a client of its own, which takes the way of all requests at the end of the turn, when
// nothing is in the middle of anything. Its text has the shape of an HTTP/1.1 head.
//
// Invariants: a stream has an `origin` only while its response may still make promises; what is in `pushes` has a client,
// unless that has gone meanwhile.

import HTTP2
import HTTPModel
import Kernel
import Memory
import Plan
import SharedState
import Wire

/// A request that has been promised and is not begun.
struct PushedRequest: ~Copyable {
  let client: Handle
  /// Its head.
  var bytes: Buffer
}

extension Gateway {
  /// Promises made with one response, at most.
  private static var promiseLimit: Int { 8 }

  /// Keeps what requests pushed with the answer to `section` will have in common with it.
  mutating func keepOrigin(_ stream: Handle, _ multiplexer: Handle, _ section: Int) {
    guard multiplexers[multiplexer].session.takesPushes, workspace.sections[section].head.method == .get else { return }
    var text = Buffer.absent
    swap(&text, &workspace.sections[section].bytes)
    streams[stream].origin = Self.origin(workspace.sections[section].head, text.bytes)
    swap(&text, &workspace.sections[section].bytes)
  }

  private static func origin(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Buffer? {
    var origin = Buffer(capacity: 1024)
    let host = head.host.text(in: bytes)
    guard origin.freeCapacity > host.count + 16 else { return nil }
    origin.append("host: ")
    origin.append(host)
    origin.append("\r\n")
    for index in head.records.indices {
      let record = head.records[index]
      let name = record.nameText.text(in: bytes), value = record.value.text(in: bytes)
      guard name.equals("user-agent") || name.equals("accept-encoding") || name.equals("accept-language") else { continue }
      guard origin.freeCapacity > name.count + value.count + 8 else { continue }
      origin.append(name)
      origin.append(": ")
      origin.append(value)
      origin.append("\r\n")
    }
    return origin
  }

  /// Promises what the response head in `services.streamHead`, of which `bytes` are the text, asks for.
  @inline(never)
  mutating func makePromises(_ client: Handle, _ bytes: Span<UInt8>) {
    let stream = clients[client].carrier
    guard let origin = streams[stream].origin.take(), 200..<300 ~= services.streamHead.status.code else { return }
    let connection = streams[stream].connection, multiplexer = streams[stream].multiplexer
    guard multiplexers[multiplexer].stage == .none else { return }
    var made = InlineArray<8, Extent>(repeating: .none), count = 0
    for index in services.streamHead.records.indices {
      let record = services.streamHead.records[index]
      guard record.nameText.text(in: bytes).equalsIgnoringCase("link") else { continue }
      var links = PreloadLinks(record.value)
      while count < Self.promiseLimit, let target = links.next(bytes) {
        // The same thing once.
        let text = target.text(in: bytes)
        var isKnown = false
        for other in 0..<count where made[other].text(in: bytes).equalsIgnoringCase(text) { isKnown = true }
        guard !isKnown else { continue }
        guard promise(connection, multiplexer, streams[stream].id, text, origin) else { continue }
        made[count] = target
        count += 1
      }
    }
  }

  /// Promises one request; false when it is not to be had that way.
  private mutating func promise(_ connection: Handle, _ multiplexer: Handle, _ parent: Int32, _ target: Span<UInt8>, _ origin: borrowing Buffer) -> Bool {
    guard multiplexers[multiplexer].pushCount < min(multiplexers[multiplexer].session.pushLimit, plan.http2.maxConcurrentStreams) else { return false }
    let isSecure = clients[connection].flags.contains(.secure)
    // The first line of what is kept is the host.
    let host = Self.firstValue(origin)
    guard let path = target.path(in: isSecure ? "https://" : "http://", origin.bytes.extracting(host)) else { return false }
    var request = services.small.take()
    guard request.freeCapacity > path.count + origin.count + 32 else {
      services.small.recycle(request)
      return false
    }
    request.append("GET ")
    request.append(target.extracting(path))
    request.append(" HTTP/1.1\r\n")
    request.append(origin.bytes)
    request.append("\r\n")
    var head = RequestHead(fieldLimit: 8), parser = RequestParser()
    guard case .complete = parser.parse(request.bytes, into: &head), let client = makeStream(connection, multiplexer, 0, flags: .ended) else {
      services.small.recycle(request)
      return false
    }
    guard let id = multiplexers[multiplexer].session.promise(on: parent, tag: client.token, head, of: request.bytes, isSecure: isSecure, &workspace) else {
      services.small.recycle(request)
      unmakeStream(client)
      return false
    }
    counters.add(.http2Streams)
    register(client, clients[client].carrier)
    streams[clients[client].carrier].id = id
    multiplexers[multiplexer].pushCount += 1
    counters.add(.http2Pushes)
    pushes.append(PushedRequest(client: client, bytes: request))
    return true
  }

  private static func firstValue(_ lines: borrowing Buffer) -> Range<Int> {
    let start = 6  // "host: "
    var end = start
    while end < lines.count, lines.bytes[end] != 0x0d { end += 1 }
    return start..<max(start, end)
  }

  /// Begins the requests that have been promised.
  @inline(never)
  mutating func beginPushes() {
    var begun = Stack<PushedRequest>(capacity: 1)
    swap(&begun, &pushes)
    for index in 0..<begun.count {
      var bytes = Buffer.absent
      swap(&bytes, &begun[index].bytes)
      let client = begun[index].client
      var parser = RequestParser()
      if clients.contains(client), clients[client].flags.isDisjoint(with: .doomed), case .complete(let length) = parser.parse(bytes.bytes, into: &services.head) {
        services.head.flags.formUnion([.version11, .version2, .persistent])
        clients[client].requestStart = services.nowMicroseconds
        unsafe dispatch(clients.pin(client), length, &bytes)
        send(client)
      }
      if bytes.capacity > 0 { services.small.recycle(bytes) }
    }
  }

  /// A promise could not be made after all: nothing has been said of its stream.
  mutating func promiseFailed(_ multiplexer: Handle, _ id: Int32) {
    var next = multiplexers[multiplexer].firstStream
    while let client = next {
      let stream = clients[client].carrier
      next = streams[stream].next
      guard streams[stream].id == id else { continue }
      streams[stream].flags.insert(.closed)
      return doom(client)
    }
  }
}
