// AccessLine — composing one line of a format of one's own: a program's operations, run over one finished request.
//
// Invariant: a line ends in a line feed and is at most `AccessProgram.lineLimit` bytes long: values of
// unbounded length leave a reserve that the others fit into.

import HTTPModel
import Memory

/// What one line is made of, besides the numbers of its entry.
struct AccessLine: ~Escapable {
  let bytes: Span<UInt8>
  let client: Span<UInt8>
  let requestID: Span<UInt8>
  /// The end of the request: seconds since the epoch, and microseconds within the second.
  let seconds: UInt64
  let microseconds: UInt64

  @_lifetime(copy bytes, copy client, copy requestID)
  init(bytes: Span<UInt8>, client: Span<UInt8>, requestID: Span<UInt8>, endedAt: UInt64) {
    self.bytes = bytes
    self.client = client
    self.requestID = requestID
    seconds = endedAt / 1_000_000
    microseconds = endedAt &- seconds &* 1_000_000
  }

  /// Whether `head` was parsed from `bytes`.
  @inline(__always)
  func isParsed(_ head: borrowing RequestHead) -> Bool { !head.target.isEmpty && head.target.upper <= bytes.count }

  /// The bytes of a part of the head.
  @inline(__always) @_lifetime(copy self)
  func text(_ part: Extent) -> Span<UInt8> { bytes.extracting(part.lower..<part.upper) }

  /// Adds the line of a format of one's own to `lines`, line feed included. What nearly all formats show is written here;
  /// the rest has a place of its own, so that it does not get in the way.
  @inline(never)
  func write(
    _ entry: borrowing AccessEntry, _ head: borrowing RequestHead, _ program: borrowing AccessProgram, _ connection: borrowing ConnectionFacts,
    _ attempts: borrowing AttemptList, _ endpoint: borrowing Buffer, _ time: borrowing LogTime, into lines: inout LineBuffer
  ) {
    var line = lines.newLine(upTo: AccessProgram.lineLimit, reserve: program.reserve)
    let style = program.style
    let isParsed = isParsed(head)
    let operations = program.operations.span
    for index in operations.indices {
      line.append(operations[index].literal, count: Int(operations[index].literalCount))
      switch operations[index].value {
      case .none: break
      case .client: AccessLine.put(client, style, &line)
      case .timeLocal: line.append(time.local.span)
      case .status: line.append(decimal: UInt64(entry.status))
      case .bodyBytesSent: line.append(decimal: entry.bodyBytesSent)
      case .request:
        // Method and target stand next to each other, one blank between them.
        if isParsed {
          line.append(text: text(Extent(head.methodText.lower..<head.target.upper)), style: style)
          line.append(" ")
          AccessLine.put(entry.version, &line)
        } else {
          AccessLine.put(bytes.extracting(0..<firstLineEnd), style, &line)
        }
      case .header:
        let field = isParsed ? AccessLine.field(operations[index], head, bytes, program.text.bytes) : .none
        if field.isEmpty { AccessLine.putAbsentText(style, &line) } else { line.append(text: text(field), style: style) }
      default:
        var rest = line.rest()
        writeRare(operations[index].value, entry, head, program, connection, attempts, endpoint, time, isParsed, into: &rest)
        line.resume(behind: rest)
      }
    }
    line.append(UInt8(ascii: "\n"))
    let count = line.count
    lines.commit(count)
  }

  @inline(never)
  private func writeRare(
    _ value: AccessValue, _ entry: borrowing AccessEntry, _ head: borrowing RequestHead, _ program: borrowing AccessProgram,
    _ connection: borrowing ConnectionFacts, _ attempts: borrowing AttemptList, _ endpoint: borrowing Buffer, _ time: borrowing LogTime, _ isParsed: Bool,
    into line: inout LineWriter
  ) {
    let style = program.style
    switch value {
    case .none, .worker, .client, .timeLocal, .status, .bodyBytesSent, .request, .header: break
    case .timeISO: AccessLine.put(time, microseconds, &line)
    case .timeSeconds:
      line.append(decimal: seconds)
      line.append(UInt8(ascii: "."))
      line.append(milli: microseconds / 1000)
    case .requestID: AccessLine.put(requestID, style, &line)
    case .protocolName: AccessLine.put(entry.version, &line)
    case .protocolVersion:
      switch entry.version {
      case .http11: line.append("1.1")
      case .http10: line.append("1.0")
      case .http2: line.append("2.0")
      }
    case .bytesSent: line.append(decimal: entry.bytesSent)
    case .bytesReceived: line.append(decimal: entry.bytesReceived)
    case .duration: AccessLine.put(duration: entry.duration, style, &line)
    case .upstreamConnect: AccessLine.put(duration: entry.upstreamConnect, style, &line)
    case .upstreamHeader: AccessLine.put(duration: entry.upstreamHeader, style, &line)
    case .callStatus: if entry.callStatus >= 0 { line.append(decimal: UInt64(entry.callStatus)) } else { AccessLine.putAbsentNumber(style, &line) }
    case .attempts: line.append(decimal: UInt64(entry.attempts))
    case .attemptList: AccessLine.put(attempts.text.bytes, style, &line)
    case .upstream: AccessLine.put(name: program.upstreams[entry.upstream], style, &line)
    case .endpoint: AccessLine.put(endpoint.bytes, style, &line)
    case .route: AccessLine.put(name: program.routes[entry.route], style, &line)
    case .scheme: if connection.isSecure { line.append("https") } else { line.append("http") }
    case .tlsVersion: AccessLine.put(connection.version.text(in: connection.text.bytes), style, &line)
    case .tlsCipher: AccessLine.put(connection.cipher.text(in: connection.text.bytes), style, &line)
    case .tlsServerName: AccessLine.put(connection.serverName.text(in: connection.text.bytes), style, &line)
    case .tlsSubject: AccessLine.put(connection.subject.text(in: connection.text.bytes), style, &line)
    case .tlsFingerprint: AccessLine.put(connection.fingerprint.text(in: connection.text.bytes), style, &line)
    case .tlsResumed: if connection.isResumed { line.append("1") } else { line.append("0") }
    case .fault: AccessLine.put(name: program.faults[Int32(entry.fault.rawValue)], style, &line)
    case .method: put(isParsed ? head.methodText : .none, style, &line)
    case .uri: put(isParsed ? head.target : .none, style, &line)
    case .path: put(isParsed ? head.path : .none, style, &line)
    case .query: put(isParsed ? head.query : .none, style, &line)
    case .host: put(isParsed ? AccessLine.hostWithoutPort(head, bytes) : .none, style, &line)
    }
  }

  // MARK: Parts of the request head

  /// The host without `:port`; the colons of an IPv6 literal are inside its brackets.
  @inline(__always)
  static func hostWithoutPort(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Extent {
    let start = head.host.lower, end = head.host.upper
    // A port has at most five digits.
    for length in 1...6 where end &- length > start {
      let byte = bytes[end &- length]
      if byte == UInt8(ascii: ":") { return Extent(start..<end &- length) }
      if byte > UInt8(ascii: "9") { break }
    }
    return head.host
  }

  /// The value of the first field called `name`.
  @inline(__always)
  static func value(of name: HeaderName, _ head: borrowing RequestHead) -> Extent {
    let records = head.records
    for index in records.indices where records[index].isNamed(name) { return records[index].value }
    return .none
  }

  /// The value of the first field with the operation's name.
  @inline(__always)
  private static func field(
    _ operation: AccessOperation, _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ text: Span<UInt8>
  ) -> Extent {
    if operation.header != .other { return head.names.contains(operation.header) ? value(of: operation.header, head) : .none }
    let records = head.records
    let name = text.extracting(operation.name.lower..<operation.name.upper)
    for index in records.indices where records[index].isNamed(.other) && records[index].nameText.count == operation.name.count {
      if records[index].nameText.text(in: bytes).isEqualIgnoringCase(to: name) { return records[index].value }
    }
    return .none
  }

  /// The end of what came instead of a request line.
  private var firstLineEnd: Int {
    var end = 0
    while end < bytes.count, bytes[end] != 0x0d, bytes[end] != 0x0a { end += 1 }
    return end
  }

  // MARK: Values

  @inline(__always)
  private static func put(_ version: AccessProtocol, _ line: inout LineWriter) {
    switch version {
    case .http11: line.append("HTTP/1.1")
    case .http10: line.append("HTTP/1.0")
    case .http2: line.append("HTTP/2.0")
    }
  }

  @inline(__always)
  private static func put(_ text: Span<UInt8>, _ style: AccessLogFormat.Style, _ line: inout LineWriter) {
    if text.isEmpty { putAbsentText(style, &line) } else { line.append(text: text, style: style) }
  }

  /// Writes a part of the head.
  @inline(__always)
  private func put(_ part: Extent, _ style: AccessLogFormat.Style, _ line: inout LineWriter) { AccessLine.put(text(part), style, &line) }

  /// A name of the configuration, which has been escaped already.
  @inline(__always)
  static func put(name: Span<UInt8>, _ style: AccessLogFormat.Style, _ line: inout LineWriter) {
    if name.isEmpty { return putAbsentText(style, &line) }
    if name.count <= line.textRoom { line.append(name) }
  }

  @inline(__always)
  private static func put(duration: Int64, _ style: AccessLogFormat.Style, _ line: inout LineWriter) {
    if duration < 0 { putAbsentNumber(style, &line) } else { put(seconds: UInt64(duration), &line) }
  }

  /// Writes a duration in microseconds as seconds.
  @inline(__always)
  static func put(seconds duration: UInt64, _ line: inout LineWriter) {
    let seconds = duration / 1_000_000
    line.append(decimal: seconds)
    line.append(UInt8(ascii: "."))
    line.append(micro: duration &- seconds &* 1_000_000)
  }

  @inline(__always)
  static func put(_ time: borrowing LogTime, _ microseconds: UInt64, _ line: inout LineWriter) {
    line.append(time.iso.span)
    line.append(micro: microseconds)
    line.append(UInt8(ascii: "Z"))
  }

  private static func putAbsentText(_ style: AccessLogFormat.Style, _ line: inout LineWriter) {
    if style == .plain { line.append(UInt8(ascii: "-")) }
  }

  private static func putAbsentNumber(_ style: AccessLogFormat.Style, _ line: inout LineWriter) {
    if style == .plain { line.append(UInt8(ascii: "-")) } else { line.append("null") }
  }
}

extension Span<UInt8> {
  /// Whether the bytes, a token, are those of `name`, which consists of lower-case letters, digits and '-'.
  /// (Setting bit 5 of a token's byte makes one of these only from itself or its upper case.)
  @inline(__always)
  func isEqualIgnoringCase(to name: Span<UInt8>) -> Bool {
    guard count == name.count else { return false }
    var index = 0
    while index < count {
      if self[index] | 0x20 != name[index] { return false }
      index &+= 1
    }
    return true
  }
}
