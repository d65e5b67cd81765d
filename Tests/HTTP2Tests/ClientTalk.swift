// ClientTalk — a client session, what it was told by a scripted server, and what it said.

import CNghttp2
import HTTP2
import HTTPModel
import Memory
import Wire

/// A client's session whose server is the test.
final class ClientTalk {
  var session: ClientSession
  var workspace: ClientWorkspace
  var output = Buffer(capacity: 256 << 10)
  /// Bodies by tag, and whether they have ended.
  var bodies: [UInt64: (bytes: [UInt8], ends: Bool, trailers: Bool)] = [:]

  struct NoMemory: Error {}
  struct BadHead: Error {}

  init(_ settings: ClientSettings = ClientSettings(), sectionCapacity: Int = 66 << 10) throws {
    guard let profile = ClientProfile(), let session = ClientSession(profile, settings) else { throw NoMemory() }
    self.session = session
    workspace = ClientWorkspace(sectionCapacity: sectionCapacity, fieldLimit: 256)
  }

  /// One that has exchanged SETTINGS.
  static func begun(_ settings: ClientSettings = ClientSettings(), serverSettings: [UInt8] = []) throws -> ClientTalk {
    let talk = try ClientTalk(settings)
    _ = talk.produce()
    _ = talk.receive(Frame(type: Frame.settings, payload: serverSettings).bytes + Frame(type: Frame.settings, flags: Frame.acknowledge).bytes)
    _ = talk.produce()
    return talk
  }

  /// Sends a request whose tag is `tag`; returns its stream.
  func request(_ tag: UInt64, _ text: String, hasBody: Bool = false, isSecure: Bool = false, acceptsTrailers: Bool = false) throws -> Int32? {
    var parser = RequestParser(), head = RequestHead()
    let bytes = Array(text.utf8)
    guard case .complete = parser.parse(bytes.span, into: &head) else { throw BadHead() }
    return session.request(tag: tag, head, of: bytes.span, isSecure: isSecure, acceptsTrailers: acceptsTrailers, hasBody: hasBody, &workspace)
  }

  /// Hands `bytes` in; returns what has happened, as text.
  func receive(_ bytes: [UInt8]) -> [String] {
    var events: [String] = [], rest = bytes[...]
    repeat {
      let piece = Array(rest)
      let outcome = session.receive(piece.span, &workspace)
      collect(&events, piece)
      guard case .consumed(let count) = outcome else { return events + ["failed"] }
      guard count > 0 else { break }
      rest = rest.dropFirst(count)
    } while !rest.isEmpty
    return events
  }

  private func collect(_ events: inout [String], _ input: [UInt8]) {
    for position in 0..<workspace.eventCount { events.append(describe(workspace.event(at: position), input)) }
    workspace.clear()
  }

  private func describe(_ event: ClientEvent, _ input: [UInt8]) -> String {
    switch event {
    case .head(let tag, let section, let ends): "head \(tag)\(ends ? " ends" : "") \(workspace.sections[section].text)"
    case .data(let tag, _, let start, let count): "data \(tag) \(String(decoding: input[start..<start + count], as: UTF8.self))"
    case .trailers(let tag, let section): "trailers \(tag) \(workspace.sections[section].lines)"
    case .end(let tag): "end \(tag)"
    case .wantsTrailers(let tag, _): "wants trailers \(tag)"
    case .requestWent(let tag): "went \(tag)"
    case .closed(let tag, let code): "closed \(tag) \(code)"
    case .violated(let tag, let violation): "violated \(tag) \(violation)"
    case .settings: "settings"
    case .goAway(let last, let code): "goaway \(last) \(code)"
    case .pong: "pong"
    case .connectionError(let code): "connection error \(code)"
    case .resetReceived: "reset"
    case .resetSent: "reset sent"
    }
  }

  /// Takes out what there is to be sent, without the preface; what happened meanwhile is appended to `events`.
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
    collect(&events, [])
    var bytes: [UInt8] = []
    for index in 0..<output.count { bytes.append(output.bytes[index]) }
    let magic = preface.prefix(24)
    if bytes.starts(with: magic) { bytes.removeFirst(magic.count) }
    return Frame.parse(bytes)
  }

  func produce() -> [Frame] {
    var events: [String] = []
    return produce(&events)
  }

  func mayRequest() -> Bool { session.mayRequest }
  func isOver() -> Bool { session.isOver }
  func streamLimit() -> Int { session.peerStreamLimit }
}

extension ResponseSection {
  /// Status, reason, framing, and the fields.
  var text: String {
    func part(_ extent: Extent) -> String { string(extent.text(in: bytes.bytes)) }
    var parts = ["\(head.status.code) \(part(head.reason)) \(head.body)"]
    // The text is that of an HTTP/1.1 head.
    var parser = ResponseParser(), again = ResponseHead()
    if case .complete(bytes.count) = parser.parse(bytes.bytes, into: &again), again.status == head.status, again.fieldCount == head.fieldCount {} else { parts.append("not a head") }
    for index in head.records.indices {
      let record = head.records[index]
      parts.append("\(part(record.nameText)): \(part(record.value))")
    }
    return parts.joined(separator: " | ")
  }

  var lines: String { string(bytes.bytes) }

  private func string(_ span: Span<UInt8>) -> String {
    var result: [UInt8] = []
    for index in span.indices { result.append(span[index]) }
    return String(decoding: result, as: UTF8.self)
  }
}
