// RequestKeys — what of a request the zones of limits go by: what each applies to, and what its key is made of.
//
// Lists of a rule are ranges of tables that all rules share, so that a rule is a plain value.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import Wire

/// What a zone applies to, and what its key is made of.
struct KeyRule: BitwiseCopyable {
  /// Ranges of `RequestKeys.parts` and `RequestKeys.prefixes`.
  let parts: Extent
  let prefixes: Extent
  /// Of rules that have the same number the keys of a request are the same.
  let number: Int32
  /// What counts of an IPv6 address.
  let highMask: UInt64
  let lowMask: UInt64

  /// Appends what counts of an address.
  func append(_ peer: PeerText, _ key: inout Buffer) {
    guard let address = peer.ipv6 else { return RequestKeys.append(peer.span, &key) }
    RequestKeys.append(word: address.high & highMask, &key)
    RequestKeys.append(word: address.low & lowMask, &key)
  }
}

/// A part of a key: its kind, and where the name is of the field or cookie.
struct KeyPart: BitwiseCopyable {
  enum Kind: UInt8, BitwiseCopyable { case clientAddress, path, header, cookie, tlsSubject, routeParameter }

  let kind: Kind
  let name: Extent
  /// Of a route's parameter: which of them, counted over all parts.
  var parameter: Int32 = 0
}

/// Rules being put together, in plain arrays.
struct RequestKeyDraft {
  private(set) var rules: [KeyRule] = []
  private(set) var parts: [KeyPart] = []
  private(set) var prefixes: [Extent] = []
  private(set) var texts: [UInt8] = []
  private(set) var captures: [Int16] = []
  let routeCount: Int

  /// - Parameters:
  ///   - zones: key, bits of an IPv6 address, and path prefixes of each.
  ///   - routes: how many there are, and the names of the captures of each.
  init(_ zones: [(key: String, ipv6Prefix: Int, appliesTo: [String])], routes: Int, captures names: (Int) -> [String]) {
    routeCount = routes
    var parameters = 0
    var known: [String] = []
    for zone in zones {
      let firstPart = parts.count, firstPrefix = prefixes.count
      // The key has been looked at when the configuration was read.
      for part in (try? RateKey(parsing: zone.key))?.parts ?? [] {
        switch part {
        case .clientAddress: parts.append(KeyPart(kind: .clientAddress, name: Extent(0..<0)))
        case .path: parts.append(KeyPart(kind: .path, name: Extent(0..<0)))
        case .tlsSubject: parts.append(KeyPart(kind: .tlsSubject, name: Extent(0..<0)))
        case .header(let name): parts.append(KeyPart(kind: .header, name: add(name)))
        case .cookie(let name): parts.append(KeyPart(kind: .cookie, name: add(name)))
        case .routeParameter(let name):
          parts.append(KeyPart(kind: .routeParameter, name: Extent(0..<0), parameter: Int32(parameters)))
          parameters += 1
          for route in 0..<routes { captures.append(Int16(clamping: names(route).firstIndex(of: name) ?? -1)) }
        }
      }
      for prefix in zone.appliesTo { prefixes.append(add(prefix)) }
      let bits = min(max(zone.ipv6Prefix, 0), 128)
      let name = "\(zone.key)/\(bits)"
      if !known.contains(name) { known.append(name) }
      rules.append(
        KeyRule(
          parts: Extent(firstPart..<parts.count), prefixes: Extent(firstPrefix..<prefixes.count), number: Int32(known.firstIndex(of: name) ?? -1),
          highMask: Self.mask(min(bits, 64)), lowMask: Self.mask(max(0, bits - 64))))
    }
  }

  private mutating func add(_ text: String) -> Extent {
    let start = texts.count
    texts += Array(text.utf8)
    return Extent(start..<texts.count)
  }

  /// A word whose first `bits` are set.
  private static func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : ~0 << UInt64(64 - bits) }
}

/// What the rules of a worker's zones refer to.
struct RequestKeys: ~Copyable {
  private(set) var parts: BoundedArray<KeyPart>
  private(set) var prefixes: BoundedArray<Extent>
  /// Names of fields and cookies, and path prefixes.
  private(set) var texts: Buffer
  /// By parameter and route: which of the route's captures it is; negative: the route has no such parameter.
  private var captures: BoundedArray<Int16>
  private let routeCount: Int

  init(_ draft: RequestKeyDraft) {
    routeCount = draft.routeCount
    parts = BoundedArray(capacity: max(1, draft.parts.count))
    prefixes = BoundedArray(capacity: max(1, draft.prefixes.count))
    captures = BoundedArray(capacity: max(1, draft.captures.count))
    texts = Buffer(capacity: draft.texts.count + 16)
    for part in draft.parts { _ = parts.append(part) }
    for prefix in draft.prefixes { _ = prefixes.append(prefix) }
    for capture in draft.captures { _ = captures.append(capture) }
    texts.append(draft.texts.span)
  }

  /// Which capture of `route` the parameter is; negative: none.
  func capture(_ parameter: Int32, _ route: Int) -> Int {
    let place = Int(parameter) * routeCount + route
    return route >= 0 && route < routeCount && place < captures.count ? Int(captures.span[place]) : -1
  }

  /// Whether a rule with these prefixes is for `path`.
  @inline(__always)
  func applies(_ range: Extent, to path: Span<UInt8>) -> Bool { range.isEmpty || isAny(range, of: path) }

  @inline(never)
  private func isAny(_ range: Extent, of path: Span<UInt8>) -> Bool {
    for index in Int(range.lower)..<Int(range.upper) where path.isBelow(prefixes.span[index].text(in: texts.bytes)) { return true }
    return false
  }
}

extension Gateway {
  /// Puts the request's key together, as `rule` says; false when it lacks a part. The parts are ended by NUL, which is in none.
  mutating func composeKey(
    _ rule: KeyRule, _ client: Handle, _ route: Int, path: Span<UInt8>, _ bytes: Span<UInt8>, _ key: inout Buffer
  ) -> Bool {
    key.removeAll()
    for index in Int(rule.parts.lower)..<Int(rule.parts.upper) {
      let part = limits.keys.parts[index]
      let start = key.count
      switch part.kind {
      case .clientAddress: append(addressOf: client, rule, &key)
      case .path: RequestKeys.append(path, &key)
      case .header: RequestKeys.append(header: part.name.text(in: limits.keys.texts.bytes), of: services.head.records, bytes, &key)
      case .cookie: RequestKeys.append(cookie: part.name.text(in: limits.keys.texts.bytes), of: services.head.records, bytes, &key)
      case .tlsSubject: append(subjectOf: client, &key)
      case .routeParameter: RequestKeys.append(services.captures.value(limits.keys.capture(part.parameter, route), in: path), &key)
      }
      guard key.count > start, key.freeCapacity > 0 else { return false }
      key.append(0)
    }
    return true
  }

  private mutating func append(addressOf client: Handle, _ rule: KeyRule, _ key: inout Buffer) { rule.append(clients[client].address, &key) }

  private mutating func append(subjectOf client: Handle, _ key: inout Buffer) {
    let connection = connection(of: client)
    guard clients[connection].flags.contains(.secure) else { return }
    let handle = clients[connection].carrier
    guard !secured[handle].identity.isEmpty else { return }
    var identity = Buffer.absent
    swap(&identity, &secured[handle].identity)
    RequestKeys.append(identity.bytes.extracting(first: secured[handle].subjectLength), &key)
    swap(&identity, &secured[handle].identity)
  }
}

extension RequestKeys {
  static func append(_ text: Span<UInt8>, _ key: inout Buffer) {
    if key.freeCapacity > text.count { key.append(text) }
  }

  static func append(word: UInt64, _ key: inout Buffer) {
    for shift in stride(from: UInt64(56), through: 0, by: -8) where key.freeCapacity > 1 { key.append(UInt8(truncatingIfNeeded: word >> shift)) }
  }

  /// The value of the first field called `name`.
  static func append(header name: Span<UInt8>, of fields: Span<HeaderField>, _ bytes: Span<UInt8>, _ key: inout Buffer) {
    for index in fields.indices where fields[index].nameText.text(in: bytes).equalsIgnoringCase(name) {
      return append(fields[index].value.text(in: bytes), &key)
    }
  }

  /// The value of the first cookie called `name`.
  static func append(cookie name: Span<UInt8>, of fields: Span<HeaderField>, _ bytes: Span<UInt8>, _ key: inout Buffer) {
    for index in fields.indices where fields[index].nameText.text(in: bytes).equalsIgnoringCase("cookie") {
      let value = fields[index].value.text(in: bytes)
      if let range = value.cookie(named: name) { return append(value.extracting(range), &key) }
    }
  }
}

extension Span<UInt8> {
  /// Whether the path is `prefix`, or below it: on the boundary of a segment.
  func isBelow(_ prefix: Span<UInt8>) -> Bool {
    guard count >= prefix.count else { return false }
    for index in prefix.indices where self[index] != prefix[index] { return false }
    return count == prefix.count || prefix.isEmpty || prefix[prefix.count - 1] == 0x2f || self[prefix.count] == 0x2f
  }
}
