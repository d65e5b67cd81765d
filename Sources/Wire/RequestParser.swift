// RequestParser — a strict HTTP/1.1 request-head parser (RFC 9112) over the bytes received so far.
//
// It starts from the first byte each time, which is cheap because nearly every head arrives whole;
// for heads that trickle in, it first waits for the empty line, so the work stays linear.

import HTTPModel
import Memory

/// Parses the request heads of one connection, one after the other.
public struct RequestParser {
  private var end = HeadEndFinder()

  public init() {}

  /// Whether part of a head has been seen.
  public var isWithinHead: Bool { end.examined > 0 }

  public mutating func parse(_ bytes: Span<UInt8>, into head: inout RequestHead) -> ParseOutcome {
    guard end.mayBeComplete(bytes) else { return .incomplete }
    head.reset()
    do throws(Stop) {
      let length = try RequestHeadParser.parse(bytes, into: &head)
      end.reset()
      return .complete(length: length)
    } catch {
      switch error {
      case .incomplete:
        end.note(bytes.count)
        return .incomplete
      case .rejected(let fault): return .rejected(fault)
      }
    }
  }

  /// Whether the request line alone fills `bytes`: what tells 414 from 431 when a head does not fit.
  public static func isRequestLineOpen(_ bytes: Span<UInt8>) -> Bool {
    for index in bytes.indices where bytes[index] == .lineFeed && index > 1 { return false }
    return true
  }
}

/// The state of one pass over a request head.
struct RequestHeadParser: ~Copyable {
  /// Reads a whole head and returns its length.
  static func parse(_ bytes: Span<UInt8>, into head: inout RequestHead) throws(Stop) -> Int {
    let parser = RequestHeadParser()
    let start = try parser.startLine(Scanner(bytes), &head)
    let end = try parser.fields(bytes, from: start, &head)
    try parser.finish(&head)
    return end
  }

  // MARK: Start line

  @inline(__always)
  private func startLine(_ start: Scanner, _ head: inout RequestHead) throws(Stop) -> Int {
    var scanner = start
    // RFC 9112 §2.2: an empty line before a request line is passed over; a stream of them is not a request.
    if scanner.skipLineEnd() { try skipEmptyLines(&scanner) }
    head.method = try method(&scanner, &head)
    let start = scanner.position
    let target = scanner.takeTarget()
    guard scanner.skip(.space) else { throw scanner.stop }
    guard let version = scanner.takeWord() else { throw scanner.hasLineEnd ? .malformed : .incomplete }
    switch version {
    case 0x312e_312f_5054_5448: head.flags.insert(.version11)  // "HTTP/1.1", little-endian
    case 0x302e_312f_5054_5448: break                          // "HTTP/1.0"
    default: throw Self.unknownVersion(version)
    }
    guard scanner.skipLineEnd() else { throw scanner.stopAtLineEnd }
    head.target = Extent(start: UInt32(truncatingIfNeeded: start), end: target.end)
    head.size = head.target.upper - start
    if head.method == .connect { throw .rejected(.methodNotImplemented) }
    try RequestTarget.split(target, from: start, of: scanner.bytes, &head)
    return scanner.position
  }

  @inline(never)
  private func skipEmptyLines(_ scanner: inout Scanner) throws(Stop) {
    for _ in 0..<4 where !scanner.skipLineEnd() { return }
    throw .malformed
  }

  /// The method and the blank after it. GET, by far the most frequent, is told by one comparison.
  @inline(__always)
  private func method(_ scanner: inout Scanner, _ head: inout RequestHead) throws(Stop) -> Method {
    let start = scanner.position
    if scanner.skip(word: 0x2054_4547) {  // "GET ", little-endian
      head.methodText = Extent(start..<start + 3)
      return .get
    }
    let token = scanner.takeToken()
    // An empty line before the request may have come only in half.
    guard !token.isEmpty else { throw scanner.stopAtLineEnd }
    guard scanner.skip(.space) else { throw scanner.stop }
    head.methodText = Extent(token)
    return Method(scanner.bytes.extracting(token))
  }

  /// "HTTP/d.d" is a version that is not spoken here (RFC 9110 §15.6.6); anything else is not a version.
  private static func unknownVersion(_ word: UInt64) -> Stop {
    let isName = word & 0xff00_ff_ffff_ffff == 0x2e00_2f_5054_5448
    let isDigits = 0x30...0x39 ~= word >> 40 & 0xff && 0x30...0x39 ~= word >> 56
    return isName && isDigits ? .rejected(.versionNotSupported) : .malformed
  }

  // MARK: Fields

  /// Reads fields up to and including the empty line, and returns where the head ends.
  @inline(__always)
  private func fields(_ bytes: Span<UInt8>, from start: Int, _ head: inout RequestHead) throws(Stop) -> Int {
    let scan = head.scanFields(bytes, from: start)
    try scan.check()
    guard scan.repeated.isDisjoint(with: .singletons) else { throw .malformed }
    head.size += scan.size
    head.names = scan.names
    if scan.names.contains(.host) { try host(bytes, &head) }
    let others = scan.names.intersection(.decisive)
    if !others.isEmpty { try interpret(others, repeated: scan.repeated, bytes, &head) }
    return scan.end
  }

  /// Checks the one `Host` field, which is nearly always the first of all.
  @inline(__always)
  private func host(_ bytes: Span<UInt8>, _ head: inout RequestHead) throws(Stop) {
    var index = 0
    while !head.field(at: index).isNamed(.host) { index &+= 1 }
    let value = head.field(at: index).value
    guard bytes.isHostAndPort(in: value.lower..<value.upper) else { throw .malformed }
    if !head.flags.contains(.absoluteForm) { head.host = value }
  }

  /// Applies the fields called one of `names`, of which there is at least one each.
  @inline(never)
  private func interpret(_ names: HeaderNameSet, repeated: HeaderNameSet, _ bytes: Span<UInt8>, _ head: inout RequestHead) throws(Stop) {
    var left = names
    var index = 0
    while !left.isEmpty, index < head.fieldCount {
      let field = head.field(at: index)
      if left.contains(field) {
        try interpret(field, bytes, &head)
        // What is there once need not be looked for any further.
        if !repeated.contains(field) { left.remove(HeaderNameSet(field)) }
      }
      index &+= 1
    }
  }

  /// Applies a field that concerns the connection or the body; throws if it contradicts an earlier one.
  private func interpret(_ field: HeaderField, _ bytes: Span<UInt8>, _ head: inout RequestHead) throws(Stop) {
    let value = field.value.text(in: bytes)
    switch field.name {
    case .contentLength:
      guard head.body == .none, let length = value.decimal else { throw .malformed }
      head.body = .length(length)
      if value.count > 1, value[0] == 0x30 { head.flags.insert(.oddLength) }
    case .transferEncoding:
      // With Content-Length it is an attempt at smuggling (RFC 9112 §6.3); HTTP/1.0 knows no codings.
      guard head.body == .none, head.flags.contains(.version11), !value.isEmpty else { throw .malformed }
      guard value.equalsIgnoringCase("chunked") else { throw .rejected(.methodNotImplemented) }
      head.body = .chunked
    case .connection:
      if value.equalsIgnoringCase("keep-alive") {
        head.flags.insert(.saysKeepAlive)
      } else if value.equalsIgnoringCase("close") {
        head.flags.insert(.saysClose)
      } else {
        head.flags.insert(connectionOptions: value)
      }
    case .expect:
      head.flags.insert(value.equalsIgnoringCase("100-continue") ? .expectsContinue : .expectsUnknown)
    case .te:
      value.forEachToken { if $0.equalsIgnoringCase("trailers") { head.flags.insert(.acceptsTrailers) } }
    case .trailer: head.flags.insert(.announcesTrailers)
    default: break
    }
  }

  /// Checks what can only be known at the end.
  @inline(__always)
  private func finish(_ head: inout RequestHead) throws(Stop) {
    if head.flags.contains(.version11) {
      guard head.names.contains(.host) else { throw .malformed }
      if !head.flags.contains(.saysClose) { head.flags.insert(.persistent) }
    } else if head.flags.isDisjoint(with: .saysClose), head.flags.contains(.saysKeepAlive) {
      head.flags.insert(.persistent)
    }
  }
}
