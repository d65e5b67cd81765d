// Frames — raw HTTP/2 frames for tests, written and read without the library under test.
//
// Header sections are written as literals that use no table and no Huffman code, so that any name and value can be said.

import CNghttp2
import HTTP2
import HTTPModel
import Memory

/// One frame.
struct Frame: Equatable {
  var type: UInt8
  var flags: UInt8 = 0
  var stream: UInt32 = 0
  var payload: [UInt8] = []

  static let data: UInt8 = 0, headers: UInt8 = 1, priority: UInt8 = 2, reset: UInt8 = 3, settings: UInt8 = 4, pushPromise: UInt8 = 5, ping: UInt8 = 6
  static let goAway: UInt8 = 7, windowUpdate: UInt8 = 8, continuation: UInt8 = 9, priorityUpdate: UInt8 = 16
  static let endStream: UInt8 = 1, acknowledge: UInt8 = 1, endHeaders: UInt8 = 4

  var bytes: [UInt8] { big(UInt32(payload.count)).dropFirst() + [type, flags] + big(stream) + payload }

  /// The frames that `bytes` consist of.
  static func parse(_ bytes: [UInt8]) -> [Frame] {
    var frames: [Frame] = [], rest = bytes[...]
    while rest.count >= 9 {
      let start = rest.startIndex
      let count = Int(rest[start]) << 16 | Int(rest[start + 1]) << 8 | Int(rest[start + 2])
      let stream = rest[(start + 5)..<(start + 9)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      guard rest.count >= 9 + count else { break }
      frames.append(Frame(type: rest[start + 3], flags: rest[start + 4], stream: stream, payload: Array(rest[(start + 9)..<(start + 9 + count)])))
      rest = rest[(start + 9 + count)...]
    }
    return frames
  }

  /// The error code of a RST_STREAM or GOAWAY frame.
  var code: UInt32 { (type == Frame.goAway ? payload.dropFirst(4) : payload[...]).prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }
}

func big(_ value: UInt32) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }

let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Frame(type: Frame.settings).bytes

typealias Field = (String, String)

/// A header block of literals.
func block(_ fields: [Field]) -> [UInt8] { fields.flatMap { [0] + literal(Array($0.utf8)) + literal(Array($1.utf8)) } }

func literal(_ text: [UInt8]) -> [UInt8] {
  guard text.count >= 127 else { return [UInt8(text.count)] + text }
  var bytes: [UInt8] = [127], rest = text.count - 127
  while rest >= 128 {
    bytes.append(UInt8(rest & 127 | 128))
    rest >>= 7
  }
  return bytes + [UInt8(rest)] + text
}

func headers(_ stream: UInt32, _ fields: [Field], ends: Bool = true) -> [UInt8] {
  Frame(type: Frame.headers, flags: Frame.endHeaders | (ends ? Frame.endStream : 0), stream: stream, payload: block(fields)).bytes
}

func data(_ stream: UInt32, _ bytes: [UInt8], ends: Bool = false) -> [UInt8] {
  Frame(type: Frame.data, flags: ends ? Frame.endStream : 0, stream: stream, payload: bytes).bytes
}

let plainGet: [Field] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test")]

/// A session, what it was told to say, and what it said.
final class Talk {
  var session: ServerSession
  var workspace: Workspace
  var output = Buffer(capacity: 256 << 10)
  /// Bodies by tag, and whether they have ended.
  var bodies: [UInt64: (bytes: [UInt8], ends: Bool, trailers: Bool)] = [:]

  struct NoMemory: Error {}

  init(_ settings: SessionSettings = SessionSettings(), sectionCapacity: Int = 16 << 10, fieldLimit: Int = 100) throws {
    guard let profile = SessionProfile(settings), let session = ServerSession(profile) else { throw NoMemory() }
    self.session = session
    workspace = Workspace(sectionCapacity: sectionCapacity, fieldLimit: fieldLimit)
  }

  /// Hands `bytes` in; returns what has happened, as text.
  func receive(_ bytes: [UInt8], now: Int64 = 0) -> [String] {
    var events: [String] = [], rest = bytes[...]
    // Sleep must never be seen from outside.
    session.sleep()
    repeat {
      let piece = Array(rest)
      let outcome = session.receive(piece.span, now: now, &workspace)
      for position in 0..<workspace.eventCount { events.append(describe(workspace.event(at: position), piece)) }
      workspace.clear()
      guard case .consumed(let count) = outcome else { return events + ["failed"] }
      rest = rest.dropFirst(count)
    } while !rest.isEmpty
    return events
  }

  private func describe(_ event: SessionEvent, _ input: [UInt8]) -> String {
    switch event {
    case .request(let stream, let section, let ends):
      _ = session.tag(stream, UInt64(stream))
      return "request \(stream)\(ends ? " ends" : "") \(workspace.sections[section].text)"
    case .data(let stream, _, let start, let count): return "data \(stream) \(String(decoding: input[start..<start + count], as: UTF8.self))"
    case .trailers(let stream, _, let section): return "trailers \(stream) \(workspace.sections[section].lines)"
    case .end(let stream, _): return "end \(stream)"
    case .progress(let tag): return "progress \(tag)"
    case .wantsTrailers(_, let stream): return "wants trailers \(stream)"
    case .closed(let tag, let code): return "closed \(tag) \(code)"
    case .streamError(let stream, let code): return "stream error \(stream) \(code)"
    case .connectionError(let code): return "connection error \(code)"
    case .flooded(let flood): return "flooded \(flood)"
    case .answered(let stream): return "answered \(stream)"
    case .promiseFailed(let stream): return "promise failed \(stream)"
    case .resetReceived: return "reset"
    case .resetSent: return "reset sent"
    }
  }

  /// Takes out what there is to be sent; returns it as frames. What happened meanwhile is appended to `events`.
  func produce(limit: Int = 128 << 10, _ events: inout [String]) -> [Frame] {
    var bodies = bodies
    output.removeAll()
    _ = session.produce(into: &output, limit: limit, &workspace) { tag, take, output in
      guard var body = bodies[tag] else { return BodyState(count: 0, isComplete: false, hasTrailers: false) }
      for byte in body.bytes.prefix(take) { output.append(byte) }
      body.bytes.removeFirst(min(take, body.bytes.count))
      bodies[tag] = body
      return BodyState(count: body.bytes.count, isComplete: body.ends, hasTrailers: body.trailers)
    }
    self.bodies = bodies
    session.sleep()
    for position in 0..<workspace.eventCount { events.append(describe(workspace.event(at: position), [])) }
    workspace.clear()
    var bytes: [UInt8] = []
    for index in 0..<output.count { bytes.append(output.bytes[index]) }
    return Frame.parse(bytes)
  }

  func isOver() -> Bool { session.isOver }
  func isOpen(_ stream: Int32) -> Bool { session.isOpen(stream) }
  func isStillOpen(_ stream: Int32) -> Bool { session.isStillOpen(stream) }

  func produce() -> [Frame] {
    var events: [String] = []
    return produce(&events)
  }
}

extension FieldSection {
  /// Method, target, host, body, and the fields.
  var text: String {
    func part(_ extent: Extent) -> String { string(extent.text(in: bytes.bytes)) }
    var parts = ["\(part(head.methodText)) \(part(head.target)) \(part(head.host)) \(head.body)"]
    for index in head.records.indices {
      let record = head.records[index]
      parts.append("\(part(record.nameText)): \(part(record.value))")
    }
    if !head.target.isEmpty, head.target.lower != head.methodText.upper + 1 { parts.append("method and target apart") }
    if outcome != .none { parts.append("\(outcome)") }
    return parts.joined(separator: " | ")
  }

  var lines: String { string(bytes.bytes) }

  private func string(_ span: Span<UInt8>) -> String {
    var result: [UInt8] = []
    for index in span.indices { result.append(span[index]) }
    return String(decoding: result, as: UTF8.self)
  }
}
