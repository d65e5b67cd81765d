// HeaderPreferences — what some end-to-end fields say to a gateway.

import HTTPModel
import Memory

extension RequestHead {
  /// Whether the client asks for JSON and not for text: `Accept` names it, and text not with a higher quality.
  public func prefersJSON(in bytes: Span<UInt8>) -> Bool {
    var json = 0, text = 0
    for index in records.indices where records[index].isNamed(.accept) {
      records[index].value.text(in: bytes).forEachMediaType { type, quality in
        if type.equalsIgnoringCase("application/json") || type.equalsIgnoringCase("application/problem+json") {
          json = max(json, quality)
        } else if type.equalsIgnoringCase("text/html") || type.equalsIgnoringCase("text/plain") || type.equalsIgnoringCase("text/*") {
          text = max(text, quality)
        }
      }
    }
    return json > 0 && json >= text
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
  /// Calls `body` with each media type of a comma-separated list and its quality in thousandths (RFC 9110 §12.4.2).
  func forEachMediaType(_ body: (Span<UInt8>, Int) -> Void) {
    var start = 0
    while start < count {
      var end = start
      while end < count, self[end] != .comma { end += 1 }
      var last = start
      while last < end, self[last] != .semicolon { last += 1 }
      let quality = extracting(last..<end).quality
      while start < last, self[start] == .space || self[start] == .tab { start += 1 }
      while last > start, self[last - 1] == .space || self[last - 1] == .tab { last -= 1 }
      if last > start { body(extracting(start..<last), quality) }
      start = end + 1
    }
  }

  /// The `q` among parameters, in thousandths; 1000 where there is none or it cannot be read.
  fileprivate var quality: Int {
    for index in indices where self[index] == 0x71 || self[index] == 0x51 {
      guard index + 2 < count, self[index + 1] == 0x3d, index > 0, self[index - 1] == .semicolon || self[index - 1] == .space else { continue }
      if self[index + 2] == 0x31 { return 1000 }
      guard self[index + 2] == 0x30 else { return 1000 }
      var value = 0
      for place in 0..<3 {
        let position = index + 4 + place
        let digit = position < count && 0x30...0x39 ~= self[position] ? Int(self[position] - 0x30) : 0
        value = value * 10 + digit
      }
      return value
    }
    return 1000
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
