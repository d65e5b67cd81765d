// SendingFiles — files on their way to clients, as these take them.
//
// In the clear and over HTTP/1.1 the kernel copies from its cache into the socket (sendfile); elsewhere pieces are read into a buffer, no
// more of them than the client has room for. A page that is not in the cache is waited for: reading ahead keeps that rare. Invariant: while
// a file is being sent, its exchange has the flag `.file` and `session` names its record.

import HTTPModel
import Kernel
import Memory
import SharedState
import Wire

extension Gateway {
  /// Bytes sent with one call, and calls in one turn.
  private static var filePiece: Int { 1 << 20 }
  private static var fileBudget: Int { 4 }
  /// Bytes compressed with one call. Several in one turn, because what an encoder remembers leaves the processor's caches between two turns.
  private static var codedPiece: Int { 32 << 10 }
  /// Bytes that may wait for a client that is not sent to directly.
  private static var fileBacklog: Int { 128 << 10 }

  /// Goes to the part that comes next; false when there is none.
  @discardableResult
  mutating func beginPart(_ session: Handle) -> Bool {
    guard files[session].part < files[session].partCount else { return false }
    let range = files[session].parts[files[session].part]
    files[session].part += 1
    files[session].position = range.start
    files[session].end = range.start + range.count
    if range.count > Self.filePiece { files[session].file.willRead(from: range.start, count: range.count) }
    if files[session].boundary != 0 { composePart(session, range) }
    return true
  }

  private mutating func composePart(_ session: Handle, _ range: ByteRange) {
    let rule = files[session].rule, type = files[session].type, size = files[session].file.size, boundary = files[session].boundary
    var output = Buffer.absent
    swap(&output, &services.responses.output)
    output.append(partOf: range, size, boundary: boundary, type: type, of: actions.files[rule].types)
    swap(&output, &services.responses.output)
  }

  /// Sends what has been composed, and of the file as much as the client takes.
  @inline(never)
  mutating func sendFile(_ exchange: Handle) {
    guard let session = exchanges[exchange].session else { return }
    let client = exchanges[exchange].client
    for _ in 0..<Self.fileBudget {
      guard clients[client].flags.isDisjoint(with: .doomed) else { return }
      if files[session].position == files[session].end {
        guard sendPart(exchange, session, client) else { return }
        continue
      }
      let isDirect = clients[client].flags.isDisjoint(with: [.secure, .stream]) && files[session].encoder == nil
      guard isDirect ? sendDirectly(exchange, session, client) : sendThroughMemory(exchange, session, client) else { return }
    }
    if !services.responses.output.isEmpty { send(client) }
    // The others want a turn.
    enqueue(client)
  }

  /// Goes on with the next part, or ends the exchange. False when there is nothing more to do now.
  private mutating func sendPart(_ exchange: Handle, _ session: Handle, _ client: Handle) -> Bool {
    if beginPart(session) {
      exchanges[exchange].bodySent += services.responses.output.count
      exchanges[exchange].sent += services.responses.output.count
      return true
    }
    if let encoder = files[session].encoder {
      if let fault = passCoded(exchange, encoder, Span(), .finish) {
        fail(exchange, fault)
        return false
      }
      if exchanges[exchange].flags.contains(.chunked) { services.responses.output.append("0\r\n\r\n") }
      send(client)
    }
    if files[session].boundary != 0 {
      let before = services.responses.output.count
      services.responses.output.append(endOfParts: files[session].boundary)
      exchanges[exchange].bodySent += services.responses.output.count - before
      exchanges[exchange].sent += services.responses.output.count - before
      send(client)
    }
    finish(exchange)
    return false
  }

  private mutating func sendDirectly(_ exchange: Handle, _ session: Handle, _ client: Handle) -> Bool {
    if !services.responses.output.isEmpty { sendBeforeFile(client) }
    // What waits goes first; whoever has sent that goes on here.
    guard clients[client].backlog.isEmpty, clients[client].flags.isDisjoint(with: .doomed) else { return false }
    var position = files[session].position
    let count = min(files[session].end - position, Self.filePiece)
    let outcome = files[session].file.send(to: clients[client].socket, at: &position, count: count)
    files[session].position = position
    switch outcome {
    case .moved(let count):
      counters.add(.bytesSent, UInt64(count))
      exchanges[exchange].bodySent += count
      exchanges[exchange].sent += count
      setSendTimer(client)
      return true
    case .blocked:
      if clients[client].waiting != .send { setSendTimer(client) }
      clients[client].flags.insert(.pouring)
      return false
    case .ended:
      fail(exchange, .fileTruncated)
      return false
    case .failed(let error):
      // An error of the disk, not of the connection.
      if error.isOfStorage { fail(exchange, .fileUnreadable) } else { doom(client) }
      return false
    }
  }

  /// Sends what has been composed so that it shares a packet with what follows.
  private mutating func sendBeforeFile(_ client: Handle) {
    guard clients[client].isClear else { return send(client) }
    switch clients[client].socket.sendMore(services.responses.output.bytes) {
    case .moved(let count):
      counters.add(.bytesSent, UInt64(count))
      services.responses.output.consume(count)
      if !services.responses.output.isEmpty { send(client) }
    case .blocked: send(client)
    case .ended, .failed: doom(client)
    }
    services.responses.output.removeAll()
  }

  private mutating func sendThroughMemory(_ exchange: Handle, _ session: Handle, _ client: Handle) -> Bool {
    guard clients[client].backlog.count < Self.fileBacklog else {
      if !services.responses.output.isEmpty { send(client) }
      return false
    }
    var buffer = services.large.take()
    let goesOn = sendThroughMemory(exchange, session, client, &buffer)
    services.large.recycle(buffer)
    return goesOn
  }

  private mutating func sendThroughMemory(_ exchange: Handle, _ session: Handle, _ client: Handle, _ buffer: inout Buffer) -> Bool {
    let position = files[session].position
    // Compressing takes its time: the others come in between.
    let limit = min(files[session].end - position, files[session].encoder == nil ? buffer.freeCapacity : Self.codedPiece)
    let outcome = files[session].file.read(at: position, limit: limit, into: &buffer)
    guard case .moved(let count) = outcome, count > 0 else {
      if case .failed = outcome { fail(exchange, .fileUnreadable) } else { fail(exchange, .fileTruncated) }
      return false
    }
    files[session].position += count
    if let encoder = files[session].encoder {
      if let fault = passCoded(exchange, encoder, buffer.bytes, .process) {
        fail(exchange, fault)
        return false
      }
      send(client)
      return true
    }
    exchanges[exchange].bodySent += count
    exchanges[exchange].sent += count
    send(client, body: buffer.bytes)
    return true
  }
}
