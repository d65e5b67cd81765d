// Balancing — what of a request its upstream's balancing goes by: the hash of its key, and the endpoint that its client is bound to by a cookie.
//
// Both are taken when the exchange begins, while the route's captures are at hand, and serve all its attempts. The cookie's value is a keyed hash of the endpoint's
// name: it says nothing about the endpoint, is the same in all workers, after reloads and on other machines with the same secret, and one that was made up
// is not the hash of any.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import Upstream
import Wire

/// What a route's balancing goes by.
struct BalanceRule: BitwiseCopyable {
  enum Kind: UInt8, BitwiseCopyable { case none, clientAddress, path, header, cookie, parameter }

  var kind = Kind.none
  /// Which of the route's captures; with `.parameter`.
  var capture: Int16 = -1
  var isSticky = false
  /// Whether there is anything to take from the request.
  var isActive: Bool { kind != .none || isSticky }

  init() {}

  /// - Parameter captures: the names of the route's.
  init(_ plan: BalancePlan, captures: [String]) {
    isSticky = !plan.sticky.cookie.isEmpty
    guard plan.policy == .hash, let key = try? BalanceKey(parsing: plan.hashKey) else { return }
    switch key {
    case .clientAddress: kind = .clientAddress
    case .path: kind = .path
    case .header: kind = .header
    case .cookie: kind = .cookie
    case .parameter(let name):
      kind = .parameter
      capture = captures.firstIndex(of: name).map { Int16(clamping: $0) } ?? -1
    }
  }
}

/// Where the texts of one upstream's balancing are.
struct BalanceTexts: BitwiseCopyable {
  /// The name of the header or cookie whose value is the key.
  var keyName = Extent(0..<0)
  var cookieName = Extent(0..<0)
  /// `Set-Cookie: NAME=`, and what follows the value.
  var cookieStart = Extent(0..<0)
  var cookieEnd = Extent(0..<0)
}

/// The texts of all upstreams' balancing, made ready.
struct BalanceTable: ~Copyable {
  let texts: Buffer
  /// By upstream.
  let places: BoundedArray<BalanceTexts>

  init(_ upstreams: [UpstreamPlan]) {
    var bytes: [UInt8] = []
    func add(_ text: String) -> Extent {
      let start = bytes.count
      bytes += Array(text.utf8)
      return Extent(start..<bytes.count)
    }
    var places = BoundedArray<BalanceTexts>(capacity: max(1, upstreams.count))
    for upstream in upstreams {
      var own = BalanceTexts()
      if upstream.balance.policy == .hash {
        switch try? BalanceKey(parsing: upstream.balance.hashKey) {
        case .header(let name), .cookie(let name): own.keyName = add(name)
        default: break
        }
      }
      let sticky = upstream.balance.sticky
      if !sticky.cookie.isEmpty {
        own.cookieName = add(sticky.cookie)
        own.cookieStart = add("Set-Cookie: \(sticky.cookie)=")
        own.cookieEnd = add(BalanceTable.attributes(sticky) + "\r\n")
      }
      _ = places.append(own)
    }
    var buffer = Buffer(capacity: max(1, bytes.count))
    buffer.append(bytes.span)
    texts = buffer
    self.places = places
  }

  private static func attributes(_ sticky: StickyPlan) -> String {
    var attributes = "; Path=\(sticky.path)"
    if !sticky.domain.isEmpty { attributes += "; Domain=\(sticky.domain)" }
    if sticky.maxAge > 0 { attributes += "; Max-Age=\(sticky.maxAge / 1000)" }
    if sticky.isHTTPOnly { attributes += "; HttpOnly" }
    if sticky.isSecure { attributes += "; Secure" }
    switch sticky.sameSite {
    case .unset: break
    case .lax: attributes += "; SameSite=Lax"
    case .strict: attributes += "; SameSite=Strict"
    case .none: attributes += "; SameSite=None"
    }
    return attributes
  }
}

extension Gateway {
  /// Takes from the request what its upstream's balancing goes by; while the captures of its route are at hand.
  @inline(never)
  mutating func noteBalance(_ exchange: Handle, _ rule: BalanceRule) {
    let upstream = Int(exchanges[exchange].upstream)
    var bytes = Buffer.absent
    swap(&bytes, &exchanges[exchange].bytes)
    exchanges[exchange].balanceKey = balanceKey(exchange, rule, upstream, bytes.bytes)
    exchanges[exchange].boundTo = rule.isSticky ? boundEndpoint(exchange, upstream, bytes.bytes) : 0
    if rule.isSticky { exchanges[exchange].flags.insert(.sticky) }
    swap(&bytes, &exchanges[exchange].bytes)
  }

  // Inlined, as a call that does not change the gateway would copy it.
  @inline(__always)
  private mutating func balanceKey(_ exchange: Handle, _ rule: BalanceRule, _ upstream: Int, _ bytes: Span<UInt8>) -> UInt64 {
    switch rule.kind {
    case .none: return 0
    case .clientAddress:
      let address = clients[exchanges[exchange].client].address
      return BalanceKey.hash(address.span)
    case .path: return exchanges[exchange].withPath(bytes) { BalanceKey.hash($0) }
    case .parameter:
      guard rule.capture >= 0 else { return 0 }
      return exchanges[exchange].withPath(bytes) { BalanceKey.hash(services.captures.value(Int(rule.capture), in: $0)) }
    case .header:
      let name = balances.places.span[upstream].keyName.text(in: balances.texts.bytes)
      for index in 0..<exchanges[exchange].head.fieldCount {
        let field = exchanges[exchange].head.field(at: index)
        if field.nameText.text(in: bytes).equalsIgnoringCase(name) { return BalanceKey.hash(field.value.text(in: bytes)) }
      }
      return 0
    case .cookie:
      let name = balances.places.span[upstream].keyName
      guard let value = cookie(name, exchange, bytes) else { return 0 }
      return BalanceKey.hash(value.text(in: bytes))
    }
  }

  /// Where the value of a cookie stands in the head.
  @inline(__always)
  private mutating func cookie(_ place: Extent, _ exchange: Handle, _ bytes: Span<UInt8>) -> Extent? {
    let name = place.text(in: balances.texts.bytes)
    for index in 0..<exchanges[exchange].head.fieldCount {
      let field = exchanges[exchange].head.field(at: index)
      guard field.nameText.text(in: bytes).equalsIgnoringCase("cookie"), let range = field.value.text(in: bytes).cookie(named: name) else { continue }
      let start = Int(field.value.lower)
      return Extent(start + range.lowerBound..<start + range.upperBound)
    }
    return nil
  }

  /// The endpoint that the client's cookie names, by what is in the cookie; 0: none.
  @inline(__always)
  private mutating func boundEndpoint(_ exchange: Handle, _ upstream: Int, _ bytes: Span<UInt8>) -> UInt64 {
    let name = balances.places.span[upstream].cookieName
    guard let value = cookie(name, exchange, bytes), value.count == 16 else { return 0 }
    let digits = value.text(in: bytes)
    var word: UInt64 = 0
    for index in digits.indices {
      switch digits[index] {
      case 0x30...0x39: word = word << 4 | UInt64(digits[index] - 0x30)
      case 0x61...0x66: word = word << 4 | UInt64(digits[index] - 0x61 + 10)
      default: return 0
      }
    }
    return word
  }

  /// Adds the cookie that binds the client to the exchange's endpoint to the response head that has just been composed, unless the client has it.
  @inline(never)
  mutating func tellEndpoint(_ exchange: Handle) {
    let upstream = Int(exchanges[exchange].upstream)
    let bound = backends.binding(of: Int(exchanges[exchange].pool))
    let position = services.responses.output.count - 2
    guard bound != 0, bound != exchanges[exchange].boundTo, position >= 0 else { return }
    let texts = balances.places.span[upstream]
    var line = Buffer(capacity: Int(texts.cookieStart.count) + Int(texts.cookieEnd.count) + 16)
    line.append(texts.cookieStart.text(in: balances.texts.bytes))
    for shift in stride(from: UInt64(60), through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: bound >> shift & 15)
      line.append(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
    }
    line.append(texts.cookieEnd.text(in: balances.texts.bytes))
    guard services.responses.output.freeCapacity >= line.count else { return }
    services.responses.output.insert(line.bytes, at: position)
  }
}
