// Replaying — the body of a request that is sent again: from the bytes that came with its head, and from what was kept of those that came later.
//
// A body is kept as it is taken from the client, up to `proxy.retry.buffer_bytes`. One that grows longer is let go, and the exchange is
// marked `bodyGone`: from then on it cannot be sent again. Invariant: without that mark, the bytes with the head and `requestBody` together are
// all that has been taken.

import HTTPModel
import Memory
import Upstream
import Wire

extension Gateway {
  /// Keeps body bytes that are being passed on, or notes that they are gone.
  @inline(never)
  mutating func keepBody(_ exchange: Handle, _ data: Span<UInt8>) {
    guard exchanges[exchange].flags.contains(.keepsBody) else {
      exchanges[exchange].flags.insert(.bodyGone)
      return
    }
    let limit = actions.forwards[Int(exchanges[exchange].rule)].plan.retry.bufferSize
    guard data.count <= limit - exchanges[exchange].requestBody.count else { return dropKeptBody(exchange) }
    exchanges[exchange].requestBody.append(data, &services.large)
  }

  /// The request will not be sent again, so its body need not be kept any longer.
  @inline(never)
  mutating func dropKeptBody(_ exchange: Handle) {
    exchanges[exchange].flags.remove(.keepsBody)
    exchanges[exchange].flags.insert(.bodyGone)
    exchanges[exchange].requestBody.removeAll(&services.large)
  }

  /// Sends a collected body, and keeps it if it is not too long.
  mutating func sendCollected(_ exchange: Handle, _ backend: Handle) {
    var kept = BufferChain()
    let limit = actions.forwards[Int(exchanges[exchange].rule)].plan.retry.bufferSize
    let keeps = exchanges[exchange].flags.contains(.keepsBody) && exchanges[exchange].requestBody.count <= limit
    while let part = exchanges[exchange].requestBody.popFirst() {
      if keeps {
        backends.connections[backend].backlog.append(copying: part, &services.large)
        kept.append(part, &services.large)
      } else {
        backends.connections[backend].backlog.append(part, &services.large)
      }
    }
    swap(&kept, &exchanges[exchange].requestBody)
    if !keeps { exchanges[exchange].flags.insert(.bodyGone) }
    exchanges[exchange].flags.insert(.requestComplete)
  }

  /// Sends once more what has been taken of a body that is not collected; then it goes on where it was.
  @inline(never)
  mutating func replayBody(_ exchange: Handle, _ backend: Handle) {
    let client = exchanges[exchange].client
    if let fault = replayHeld(exchange, client) { return fail(exchange, fault) }
    var rest = BufferChain(), kept = BufferChain()
    swap(&rest, &exchanges[exchange].requestBody)
    while let piece = rest.popFirst() {
      replay(piece, exchange)
      kept.append(piece, &services.large)
    }
    swap(&kept, &exchanges[exchange].requestBody)
    guard clients[client].body.isComplete else { return continueBody(exchange, client) }
    if exchanges[exchange].head.body == .chunked, let fault = endChunkedRequest(exchange) { return fail(exchange, fault) }
    exchanges[exchange].flags.insert(.requestComplete)
    flushRequest(exchange)
  }

  private mutating func replay(_ piece: borrowing Buffer, _ exchange: Handle) { append(requestBody: piece.bytes, exchange) }

  /// Replays the body bytes that came together with the head: they are read as they were the first time.
  private mutating func replayHeld(_ exchange: Handle, _ client: Handle) -> Fault? {
    guard exchanges[exchange].used > exchanges[exchange].headLength else { return nil }
    var reader = BodyReader(clients[client].framing(of: exchanges[exchange].head.body))
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    var position = exchanges[exchange].headLength
    let end = min(exchanges[exchange].used, bytes.count)
    var fault: Fault?
    replay: while true {
      switch reader.next(bytes.bytes.extracting(first: end), at: &position) {
      case .data(let range): append(requestBody: bytes.bytes.extracting(range), exchange)
      case .trailer(let range):
        fault = collectTrailer(exchange, bytes.bytes.extracting(range))
        if fault != nil { break replay }
      case .needsMore, .malformed, .end: break replay
      }
    }
    swap(&bytes, &exchanges[exchange].bytes)
    return fault
  }
}
