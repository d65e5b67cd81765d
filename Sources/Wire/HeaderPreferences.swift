// HeaderPreferences — what some end-to-end fields say to a gateway.

import HTTPModel
import Memory

extension RequestHead {
  /// Whether the client asks for JSON and not for text: an `Accept` field names it, and neither HTML nor plain text.
  public func prefersJSON(in bytes: Span<UInt8>) -> Bool {
    var asksJSON = false, asksText = false
    for index in records.indices where records[index].name == .accept {
      records[index].value.text(in: bytes).forEachMediaType { type in
        if type.equalsIgnoringCase("application/json") || type.equalsIgnoringCase("application/problem+json") { asksJSON = true }
        if type.equalsIgnoringCase("text/html") || type.equalsIgnoringCase("text/plain") { asksText = true }
      }
    }
    return asksJSON && !asksText
  }
}

extension HeaderList {
  /// Whether the content is a stream of events (`text/event-stream`).
  public var isEventStream: Bool {
    guard let type = first(.contentType) else { return false }
    return type.count >= 17 && type.extracting(first: 17).equalsIgnoringCase("text/event-stream")
  }

  /// Whether the sender asks not to be buffered (`X-Accel-Buffering: no`, nginx's field).
  public var asksForNoBuffering: Bool {
    guard let value = first(.accelBuffering) else { return false }
    return value.equalsIgnoringCase("no")
  }
}

extension Span<UInt8> {
  /// Calls `body` with each element of a comma-separated list, without its parameters and surrounding blanks.
  fileprivate func forEachMediaType(_ body: (Span<UInt8>) -> Void) {
    var start = 0
    while start < count {
      var end = start
      while end < count, self[end] != .comma { end += 1 }
      var last = start
      while last < end, self[last] != 0x3b { last += 1 }
      while start < last, self[start] == .space || self[start] == .tab { start += 1 }
      while last > start, self[last - 1] == .space || self[last - 1] == .tab { last -= 1 }
      if last > start { body(extracting(start..<last)) }
      start = end + 1
    }
  }
}

extension Buffer {
  /// Appends the names of the methods in `set`, sorted, separated by comma and blank. Needs 80 bytes.
  public mutating func append(_ set: MethodSet) {
    let sorted: [Method] = [.delete, .get, .head, .options, .patch, .post, .put, .trace]
    var isFirst = true
    for method in sorted where set.contains(method) {
      if !isFirst { append(", ") }
      append(method.name)
      isFirst = false
    }
  }
}
