// FieldSection — a request's header section as it comes out of HPACK, put into the shape of an HTTP/1.1 head.
//
// The text of each field is written as a line "name: value" and noted as a record, so that whoever can use an HTTP/1.1 head
// can use this one, and nothing is parsed twice. nghttp2 has checked each field by itself and the order and number of
// pseudo-header fields (RFC 9113 §8.2, §8.3); what it leaves open is decided here. Trailers are lines only.
//
// Invariants: every extent of `head` lies in `bytes`, whose first byte is never consumed; `outcome` is final once `finish`
// has returned; then the method, a blank and the target stand next to each other, as in a request line.

import HTTPModel
import Memory
import Wire

/// One header section.
public struct FieldSection: ~Copyable {
  /// The text of the section.
  public var bytes: Buffer
  /// Where its parts lie; meaningless for trailers.
  public var head: RequestHead
  /// Why the request is answered with an error although it is well-formed: too large, or CONNECT.
  public private(set) var outcome = Fault.none
  /// The value of `:protocol` (RFC 8441); empty where there was none.
  public private(set) var connectProtocol = Extent.none
  private(set) var stream: Int32 = 0
  private(set) var isTrailers = false
  /// Names, values and 32 for each field (RFC 9113 §6.5.2).
  private var listSize = 0
  private var scheme = Scheme.other
  private var hasAuthority = false
  /// Position among the fields of the one that all cookies are joined in.
  private var cookie = -1

  private enum Scheme: BitwiseCopyable { case http, https, other }

  init(capacity: Int, fieldLimit: Int) {
    bytes = Buffer(capacity: capacity)
    head = RequestHead(fieldLimit: fieldLimit)
  }

  /// Forgets everything, for the section of `stream`.
  mutating func begin(_ stream: Int32, isTrailers: Bool) {
    bytes.removeAll()
    head.reset()
    outcome = .none
    connectProtocol = .none
    self.stream = stream
    self.isTrailers = isTrailers
    listSize = 0
    scheme = .other
    hasAuthority = false
    cookie = -1
  }

  /// Counts a field; false when the list is longer than `limit`.
  mutating func count(_ name: Int, _ value: Int, limit: Int) -> Bool {
    listSize += name + value + 32
    return listSize <= limit
  }

  /// Adds a field; false when it makes the request malformed.
  mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    guard outcome == .none else { return true }
    guard bytes.freeCapacity >= name.count + value.count + 16 else {
      outcome = .headersTooLarge
      return true
    }
    if isTrailers {
      bytes.append(field: name, value)
      return true
    }
    if !name.isEmpty, name[0] == 0x3a { return addPseudo(name, value) }
    if name.count == 6, name.equals("cookie") { return addCookie(value) }
    let known = HeaderName(name)
    return known == .other ? append(.other, name, value) : addKnown(known, name, value)
  }

  // MARK: Pseudo-header fields

  private mutating func addPseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    switch name.count {
    case 5:  // :path
      head.target = write(value)
    case 7 where name[1] == 0x6d:  // :method
      head.methodText = write(value)
      bytes.append(0x20)
      head.method = Method(value)
    case 7:  // :scheme
      scheme = value.equalsIgnoringCase("https") ? .https : value.equalsIgnoringCase("http") ? .http : .other
    case 9: connectProtocol = write(value)
    default:  // :authority
      guard value.isHostAndPort else { return false }
      hasAuthority = true
      bytes.append("host: ")
      head.host = write(value)
      bytes.append("\r\n")
      head.names.insert(HeaderNameSet(.host))
      head.size += 8 + value.count
      return note(HeaderField(name: .host, nameText: Extent(head.host.lower - 6..<head.host.lower - 2), value: head.host, isCanonical: true))
    }
    return true
  }

  private mutating func write(_ value: Span<UInt8>) -> Extent {
    let start = bytes.count
    bytes.append(value)
    return Extent(start..<bytes.count)
  }

  // MARK: Fields

  private mutating func addKnown(_ known: HeaderName, _ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    // (Host is looked at by itself: it may repeat what `:authority` says.)
    if known != .host, HeaderNameSet.singletons.contains(known), head.names.contains(known) { return false }
    switch known {
    case .host:
      guard value.isHostAndPort else { return false }
      if hasAuthority { return value.isSameHost(as: head.host.text(in: bytes.bytes), defaultPort: defaultPort) }
      guard !head.names.contains(.host) else { return false }
      head.host = Extent(bytes.count + name.count + 2..<bytes.count + name.count + 2 + value.count)
    case .contentLength:
      guard let length = value.decimal else { return false }
      head.body = .length(length)
      if value.count > 1, value[0] == 0x30 { head.flags.insert(.oddLength) }
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade: return false
    case .te:
      guard value.equalsIgnoringCase("trailers") else { return false }
      head.flags.insert(.acceptsTrailers)
    case .expect: head.flags.insert(value.equalsIgnoringCase("100-continue") ? .expectsContinue : .expectsUnknown)
    case .trailer: head.flags.insert(.announcesTrailers)
    default: break
    }
    head.names.insert(HeaderNameSet(known))
    return append(known, name, value)
  }

  private var defaultPort: Int? {
    switch scheme {
    case .http: 80
    case .https: 443
    case .other: nil
    }
  }

  private mutating func append(_ known: HeaderName, _ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    let start = bytes.count
    bytes.append(field: name, value)
    head.size += name.count + value.count + 4
    let valueStart = start + name.count + 2
    return note(HeaderField(name: known, nameText: Extent(start..<start + name.count), value: Extent(valueStart..<valueStart + value.count), isCanonical: true))
  }

  private mutating func note(_ field: HeaderField) -> Bool {
    if !head.append(field) { outcome = .headersTooLarge }
    return true
  }

  /// Cookies may come in several fields; for HTTP/1.1 they are one (RFC 9113 §8.2.3).
  private mutating func addCookie(_ value: Span<UInt8>) -> Bool {
    guard cookie >= 0 else {
      cookie = head.fieldCount
      let name: InlineArray<6, UInt8> = [0x63, 0x6f, 0x6f, 0x6b, 0x69, 0x65]  // "cookie"
      return append(.other, name.span, value)
    }
    let old = head.records[cookie]
    guard bytes.freeCapacity >= Int(old.value.count) + value.count + 16 else {
      outcome = .headersTooLarge
      return true
    }
    // As the last line it grows in place; otherwise all of it is written again behind the others.
    var start = old.value.lower
    if old.value.upper + 2 == bytes.count {
      bytes.truncate(to: old.value.upper)
    } else {
      bytes.append("cookie: ")
      start = bytes.count
      bytes.append(copying: old.value.lower..<old.value.upper)
    }
    bytes.append("; ")
    bytes.append(value)
    let end = bytes.count
    bytes.append("\r\n")
    head.size += value.count + 2
    head.replace(cookie, with: HeaderField(name: .other, nameText: Extent(start - 8..<start - 2), value: Extent(start..<end), isCanonical: true))
    return true
  }

  // MARK: The end

  /// Decides what can only be known at the end; false when the request is malformed.
  mutating func finish(endsStream: Bool) -> Bool {
    if isTrailers { return true }
    head.flags.formUnion([.version11, .version2, .persistent])
    if endsStream {
      if case .length = head.body {} else { head.body = .none }
    } else if head.body == .none {
      // The body ends with the stream; towards HTTP/1.1 it goes in chunks.
      head.body = .chunked
    }
    if outcome != .none {
      // Only part of it is there, of which only a whole request line is of use.
      if head.target.lower != head.methodText.upper + 1 { (head.methodText, head.target) = (.none, .none) }
      return true
    }
    guard !head.methodText.isEmpty else { return false }
    var target = head.target
    head.target = .none
    if head.method == .connect {
      guard !connectProtocol.isEmpty else {
        outcome = .methodNotImplemented
        return true
      }
      if Self.isWebSocket(connectProtocol, bytes) { return head.names.contains(.host) && becomeHandshake(target) }
      outcome = .methodNotImplemented
    }
    guard head.names.contains(.host), joinRequestLine(&target) else { return false }
    return Self.setPath(target, bytes, &head)
  }

  private static func isWebSocket(_ place: Extent, _ bytes: borrowing Buffer) -> Bool {
    place.text(in: bytes.bytes).equalsIgnoringCase("websocket")
  }

  /// Makes an extended CONNECT the GET that asks for a WebSocket in HTTP/1.1 (RFC 8441 §5): routes and backends know no other.
  /// What follows the head is no body. False when the target is none.
  private mutating func becomeHandshake(_ target: Extent) -> Bool {
    guard bytes.freeCapacity > Int(target.count) + 4 else {
      outcome = .headersTooLarge
      return true
    }
    let start = bytes.count
    bytes.append("GET ")
    bytes.append(copying: target.lower..<target.upper)
    head.method = .get
    head.methodText = Extent(start..<start + 3)
    head.body = .none
    head.flags.insert(.extendedConnect)
    return Self.setPath(Extent(start + 4..<bytes.count), bytes, &head)
  }

  /// Makes the target stand behind the method and a blank, as in a request line. The client may have sent them in any order.
  /// False when there is no room, which means that the head is too large.
  private mutating func joinRequestLine(_ target: inout Extent) -> Bool {
    guard target.lower != head.methodText.upper + 1 else { return true }
    guard bytes.freeCapacity > Int(head.methodText.count) + Int(target.count) else {
      outcome = .headersTooLarge
      return true
    }
    let start = bytes.count
    bytes.append(copying: head.methodText.lower..<head.methodText.upper)
    bytes.append(0x20)
    bytes.append(copying: target.lower..<target.upper)
    head.methodText = Extent(start..<start + Int(head.methodText.count))
    target = Extent(head.methodText.upper + 1..<bytes.count)
    return true
  }

  private static func setPath(_ target: Extent, _ bytes: borrowing Buffer, _ head: inout RequestHead) -> Bool {
    head.setPath(target.lower..<target.upper, of: bytes.bytes)
  }
}

extension Span<UInt8> {
  /// Whether two authorities mean the same: names without regard to case, an absent port being `defaultPort`.
  /// Both are acceptable as host and port.
  func isSameHost(as other: Span<UInt8>, defaultPort: Int?) -> Bool {
    let mine = hostEnd, theirs = other.hostEnd
    guard extracting(first: mine).equalsIgnoringCase(other.extracting(first: theirs)) else { return false }
    guard let defaultPort else { return extracting(droppingFirst: mine).equalsIgnoringCase(other.extracting(droppingFirst: theirs)) }
    return (extracting(droppingFirst: mine).port ?? defaultPort) == (other.extracting(droppingFirst: theirs).port ?? defaultPort)
  }

  /// Where the host ends and the port, with its colon, begins.
  private var hostEnd: Int {
    var end = count
    while end > 0, self[end - 1] != 0x3a, self[end - 1] != 0x5d { end -= 1 }
    return end > 0 && self[end - 1] == 0x3a ? end - 1 : count
  }

  /// The number behind a colon.
  private var port: Int? { count > 1 ? extracting(droppingFirst: 1).decimal : nil }
}
