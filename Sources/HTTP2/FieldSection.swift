// FieldSection — a request's header section as it comes out of HPACK, checked and put into the shape of an HTTP/1.1 head.
//
// Routes, policies, logs and backends know one form of request head: a text with records of where its parts lie. An HTTP/2
// section becomes that form field by field, so that everything behind it is the same for both protocols. Every rule of RFC 9113
// §8.2 and §8.3 is checked here and nowhere else: nghttp2 hands in what has come out of HPACK as it is. What only the values
// together can show is decided at the end. Cookie crumbs are joined (§8.2.3). A section of trailers is lines only.
//
// Invariants: every extent of `head` lies in `bytes`, whose first byte is never consumed; `outcome` is final once `finish`
// has returned; then the method, a blank and the target stand next to each other, as in a request line. For that, a gap is left
// at the front, behind which the target stands if it comes before other text, and whose end takes the method.

import HTTPModel
import Memory
import Wire

/// The pseudo-header fields of requests (RFC 9113 §8.3.1, RFC 8441 §4), and `host`, which may occur once as they may.
struct PseudoFields: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  static var method: PseudoFields { PseudoFields(rawValue: 1) }
  static var scheme: PseudoFields { PseudoFields(rawValue: 2) }
  static var path: PseudoFields { PseudoFields(rawValue: 4) }
  static var authority: PseudoFields { PseudoFields(rawValue: 8) }
  static var connectProtocol: PseudoFields { PseudoFields(rawValue: 16) }
  static var host: PseudoFields { PseudoFields(rawValue: 32) }
}

/// What is to be thought of a field.
enum FieldVerdict: BitwiseCopyable {
  case taken
  /// The list has become longer than it may be.
  case tooLong
  /// The message is malformed.
  case malformed
}

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
  /// What its `priority` fields have said; nil where there were none, or one that cannot be read.
  private(set) var priority: StreamPriority?
  private(set) var stream: Int32 = 0
  private(set) var isTrailers = false
  /// Whether `:protocol` may occur: the client has been told so.
  private var knowsProtocol = false
  /// Names, values and 32 for each field (RFC 9113 §6.5.2).
  private var listSize = 0
  private var scheme = Scheme.other
  /// Those that have come.
  private var pseudo = PseudoFields()
  /// A field that is no pseudo-header field has come: none may follow.
  private var isRegular = false
  private var hasBadPriority = false
  /// Position among the fields of the one that all cookies are joined in.
  private var cookie = -1

  private enum Scheme: BitwiseCopyable { case http, https, other }
  /// Bytes left free at the front, the last of them a blank.
  private static var gap: Int { 24 }

  init(capacity: Int, fieldLimit: Int) {
    bytes = Buffer(capacity: capacity)
    head = RequestHead(fieldLimit: fieldLimit)
  }

  /// Forgets everything, for the section of `stream`.
  mutating func begin(_ stream: Int32, isTrailers: Bool, knowsProtocol: Bool) {
    bytes.removeAll()
    // (Whoever makes sections gives them more room than this.)
    if !isTrailers, bytes.freeCapacity > Self.gap { bytes.append("                        ") }
    head.reset()
    outcome = .none
    connectProtocol = .none
    priority = nil
    self.stream = stream
    self.isTrailers = isTrailers
    self.knowsProtocol = knowsProtocol
    listSize = 0
    scheme = .other
    pseudo = []
    isRegular = false
    hasBadPriority = false
    cookie = -1
  }

  /// Adds a field.
  /// - Parameter limit: of names, values and 32 for each field together.
  mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>, limit: Int) -> FieldVerdict {
    listSize += name.count + value.count + 32
    guard listSize <= limit else { return .tooLong }
    guard !name.isEmpty else { return .malformed }
    if name[0] == 0x3a { return takePseudo(name, value) ? .taken : .malformed }
    isRegular = true
    guard let known = HeaderName(lowerCase: name), value.isFieldValue else { return .malformed }
    if outcome == .none, bytes.freeCapacity < name.count + value.count + 16 { outcome = .headersTooLarge }
    guard outcome == .none else {
      if known == .host { pseudo.formUnion(.host) }
      return .taken
    }
    guard !isTrailers else { return addTrailer(known, name, value) ? .taken : .malformed }
    if known != .other { return addKnown(known, name, value) ? .taken : .malformed }
    if name.count == 6, name.equals("cookie") { return addCookie(value) ? .taken : .malformed }
    if name.count == 8, name.equals("priority") { takePriority(value) }
    return append(.other, name, value) ? .taken : .malformed
  }

  private mutating func addTrailer(_ known: HeaderName, _ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    switch known {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .contentLength: return false
    case .te: guard value.equalsIgnoringCase("trailers") else { return false }
    default: break
    }
    bytes.append(field: name, value)
    return true
  }

  // MARK: Pseudo-header fields

  /// False when there is no such field, or it may not stand here, or again, or its value is none.
  private mutating func takePseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
    guard !isRegular, !isTrailers, !value.isEmpty else { return false }
    let field: PseudoFields
    switch name.count {
    case 5 where name.equals(":path"): field = .path
    case 7 where name.equals(":method"): field = .method
    case 7 where name.equals(":scheme"): field = .scheme
    case 9 where name.equals(":protocol") && knowsProtocol: field = .connectProtocol
    case 10 where name.equals(":authority"): field = .authority
    default: return false
    }
    guard pseudo.isDisjoint(with: field) else { return false }
    pseudo.formUnion(field)
    if field == .scheme { return takeScheme(value) }
    if field == .method, !value.isToken { return false }
    guard outcome == .none else { return true }
    guard bytes.freeCapacity >= value.count + 48 else {
      outcome = .headersTooLarge
      return true
    }
    switch field {
    case .path: takePath(value)
    case .method: takeMethod(value)
    case .authority: return takeAuthority(value)
    default:
      guard value.isFieldValue else { return false }
      connectProtocol = write(value)
    }
    return true
  }

  private mutating func takePath(_ value: Span<UInt8>) {
    if !head.methodText.isEmpty, bytes.count > Self.gap {
      // The method once more, for the path to follow it.
      let start = bytes.count, count = Int(head.methodText.count)
      bytes.append(copying: head.methodText.lower..<head.methodText.upper)
      bytes.append(0x20)
      head.methodText = Extent(start..<start + count)
    }
    head.target = write(value)
    bytes.append(0x20)
  }

  private mutating func takeMethod(_ value: Span<UInt8>) {
    head.method = Method(value)
    let count = value.count
    guard count < Self.gap, bytes.count >= Self.gap else {
      head.methodText = write(value)
      return bytes.append(0x20)
    }
    bytes.replace(value, at: Self.gap - 1 - count)
    head.methodText = Extent(Self.gap - 1 - count..<Self.gap - 1)
  }

  /// (RFC 3986 §3.1.)
  private mutating func takeScheme(_ value: Span<UInt8>) -> Bool {
    if value.count == 4, value.equals("http") {
      scheme = .http
    } else if value.count == 5, value.equals("https") {
      scheme = .https
    } else {
      return takeUnusualScheme(value)
    }
    return true
  }

  @inline(never)
  private mutating func takeUnusualScheme(_ value: Span<UInt8>) -> Bool {
    for index in value.indices {
      switch value[index] {
      case 0x41...0x5a, 0x61...0x7a: break
      case 0x30...0x39, 0x2b, 0x2d, 0x2e: guard index > 0 else { return false }
      default: return false
      }
    }
    scheme = value.equalsIgnoringCase("https") ? .https : value.equalsIgnoringCase("http") ? .http : .other
    return true
  }

  /// Whether the authority is acceptable is found at the end.
  private mutating func takeAuthority(_ value: Span<UInt8>) -> Bool {
    bytes.append("host: ")
    head.host = write(value)
    bytes.append("\r\n")
    head.names.insert(HeaderNameSet(.host))
    head.size += 8 + value.count
    return note(HeaderField(name: .host, nameText: Extent(head.host.lower - 6..<head.host.lower - 2), value: head.host, isCanonical: true))
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
      guard pseudo.isDisjoint(with: .host), value.isHostAndPort else { return false }
      pseudo.formUnion(.host)
      if pseudo.contains(.authority) { return value.isSameHost(as: head.host.text(in: bytes.bytes), defaultPort: defaultPort) }
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

  /// Several such fields are one list (RFC 9218 §5); one that cannot be read makes all of them mean nothing.
  @inline(never)
  private mutating func takePriority(_ value: Span<UInt8>) {
    guard !hasBadPriority else { return }
    var said = priority ?? StreamPriority()
    hasBadPriority = !said.read(value)
    priority = hasBadPriority ? nil : said
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

  /// Decides what can only be known at the end; false when the message is malformed.
  mutating func finish(endsStream: Bool) -> Bool {
    // Trailers end the stream (RFC 9113 §8.1).
    if isTrailers { return endsStream }
    guard isWhole else { return false }
    head.flags.formUnion([.version11, .version2, .persistent])
    if endsStream {
      if case .length(let length) = head.body { guard length == 0 else { return false } } else { head.body = .none }
    } else if head.body == .none {
      // The body ends with the stream; towards HTTP/1.1 it goes in chunks.
      head.body = .chunked
    }
    if outcome != .none {
      // Only part of it is there, of which only a whole request line is of use.
      if head.target.lower != head.methodText.upper + 1 { (head.methodText, head.target) = (.none, .none) }
      return true
    }
    if pseudo.contains(.authority) { guard bytes.bytes.isHostAndPort(in: head.host.lower..<head.host.upper) else { return false } }
    var target = head.target
    head.target = .none
    if head.method == .connect {
      guard !connectProtocol.isEmpty else {
        outcome = .methodNotImplemented
        return true
      }
      if Self.isWebSocket(connectProtocol, bytes) { return becomeHandshake(target) }
      outcome = .methodNotImplemented
    }
    return joinRequestLine(&target) && Self.setPath(target, bytes, &head)
  }

  /// Whether the pseudo-header fields that have to be there are, and no others (RFC 9113 §8.3.1, §8.5, RFC 8441 §4).
  private var isWhole: Bool {
    let asks: PseudoFields = [.method, .scheme, .path]
    if pseudo.isSuperset(of: asks), pseudo.isDisjoint(with: .connectProtocol), head.method != .connect { return !pseudo.isDisjoint(with: [.authority, .host]) }
    guard pseudo.contains([.method, .authority]), head.method == .connect || outcome != .none else { return false }
    return pseudo.contains(.connectProtocol) ? pseudo.isSuperset(of: asks) : pseudo.isDisjoint(with: [.scheme, .path])
  }

  private static func isWebSocket(_ place: Extent, _ bytes: borrowing Buffer) -> Bool {
    place.text(in: bytes.bytes).equalsIgnoringCase("websocket")
  }

  /// Makes an extended CONNECT the GET that asks for a WebSocket in HTTP/1.1 (RFC 8441 §5): routes and backends know no other.
  /// What follows the head is no body. False when the target is none.
  private mutating func becomeHandshake(_ target: Extent) -> Bool {
    guard bytes.freeCapacity > Int(target.count) + 5 else {
      outcome = .headersTooLarge
      return true
    }
    let start = bytes.count
    bytes.append("GET ")
    bytes.append(copying: target.lower..<target.upper)
    let end = bytes.count
    bytes.append(0x20)
    head.method = .get
    head.methodText = Extent(start..<start + 3)
    head.body = .none
    head.flags.insert(.extendedConnect)
    return Self.setPath(Extent(start + 4..<end), bytes, &head)
  }

  /// Makes the target stand behind the method and a blank, as in a request line. The client may have sent them in any order.
  /// False when there is no room, which means that the head is too large.
  private mutating func joinRequestLine(_ target: inout Extent) -> Bool {
    guard target.lower != head.methodText.upper + 1 else { return true }
    guard bytes.freeCapacity > Int(head.methodText.count) + Int(target.count) + 1 else {
      outcome = .headersTooLarge
      return true
    }
    let start = bytes.count
    bytes.append(copying: head.methodText.lower..<head.methodText.upper)
    bytes.append(0x20)
    bytes.append(copying: target.lower..<target.upper)
    head.methodText = Extent(start..<start + Int(head.methodText.count))
    target = Extent(head.methodText.upper + 1..<bytes.count)
    bytes.append(0x20)
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
