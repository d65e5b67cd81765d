// CrossOrigin — answers to browsers that ask for another origin's page: the CORS protocol (Fetch standard §3.2).
//
// A preflight is matched with the method that it asks about and answered here; the backend never sees it. In the responses themselves the gateway
// alone says who may read them: what a backend says about that is taken out, and what stands there depends on the request's Origin, which
// Vary therefore names, whether or not the request had one.

import HTTPModel
import Memory
import Plan
import Policy
import Wire

/// What one route tells browsers.
struct CrossOriginRule: BitwiseCopyable {
  let origins: OriginBook.Part
  let allowsCredentials: Bool
  /// Header fields may have any name.
  let allowsAnyHeader: Bool
  /// Field lines of preflights and of responses, in the text of the rules.
  let preflight: Extent
  let response: Extent
  /// Of methods; empty: the one asked about.
  let methods: Extent
}

/// The rules of all routes.
struct CrossOriginRules: ~Copyable {
  private(set) var origins = OriginBook()
  private var text: [UInt8] = []
  private(set) var rules: [CrossOriginRule] = []
  /// What only the gateway says.
  private let names: LineNames
  private let reserved: LineNames.Part

  init() {
    var names = LineNames()
    reserved = names.add([
      "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers", "access-control-allow-methods",
      "access-control-allow-headers", "access-control-max-age", "access-control-allow-private-network",
    ])
    self.names = names
  }

  /// Adds the rule of a route, and returns its number.
  mutating func add(_ plan: CORSPlan, route: String) throws(GatewayFailure) -> Int32 {
    var patterns: [OriginPattern] = []
    for origin in plan.origins {
      do throws(OriginError) {
        patterns.append(try OriginPattern(parsing: origin))
      } catch {
        throw GatewayFailure("route \(route): cors.allow_origins \(error.complaint)")
      }
    }
    var preflight = "Access-Control-Max-Age: \(plan.maxAge / 1000)\r\n"
    if !plan.headers.isEmpty, plan.headers != ["*"] { preflight += "Access-Control-Allow-Headers: \(plan.headers.joined(separator: ", "))\r\n" }
    let exposed = plan.exposed.isEmpty ? "" : "Access-Control-Expose-Headers: \(plan.exposed.joined(separator: ", "))\r\n"
    let part = origins.add(patterns)
    let places = (place(preflight), place(exposed), place(plan.methods.joined(separator: ", ")))
    rules.append(
      CrossOriginRule(
        origins: part, allowsCredentials: plan.credentials, allowsAnyHeader: plan.headers == ["*"], preflight: places.0, response: places.1,
        methods: places.2))
    return Int32(rules.count - 1)
  }

  private mutating func place(_ string: String) -> Extent {
    let start = text.count
    text += string.utf8
    return Extent(start..<text.count)
  }

  /// Whether the origin that a request names is one of the rule's.
  func admits(_ rule: CrossOriginRule, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> Bool {
    guard let origin = fields.only("origin", bytes) else { return false }
    return origins.allows(origin.text(in: bytes), rule.origins)
  }

  /// Appends the lines for a response to a request with these fields; needs 1 KiB of room and that of the fields.
  func append(_ rule: CrossOriginRule, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>, isPreflight: Bool, to lines: inout Buffer) {
    let text = text.span
    guard lines.freeCapacity >= bytes.count + text.count + 512 else { return }
    if rule.origins.isAny {
      lines.append("Access-Control-Allow-Origin: *\r\n")
    } else {
      lines.append("Vary: Origin\r\n")
      guard let origin = fields.only("origin", bytes), origins.allows(origin.text(in: bytes), rule.origins) else { return }
      lines.append("Access-Control-Allow-Origin: ")
      lines.append(origin.text(in: bytes))
      lines.append("\r\n")
      if rule.allowsCredentials { lines.append("Access-Control-Allow-Credentials: true\r\n") }
    }
    if !isPreflight { return lines.append(rule.response.text(in: text)) }
    lines.append("Access-Control-Allow-Methods: ")
    if !rule.methods.isEmpty {
      lines.append(rule.methods.text(in: text))
    } else if let method = fields.only("access-control-request-method", bytes) {
      lines.append(method.text(in: bytes))
    }
    lines.append("\r\n")
    lines.append(rule.preflight.text(in: text))
    guard rule.allowsAnyHeader, let asked = fields.only("access-control-request-headers", bytes), asked.text(in: bytes).isTokenList else { return }
    lines.append("Access-Control-Allow-Headers: ")
    lines.append(asked.text(in: bytes))
    lines.append("\r\n")
  }

  /// Takes out what a backend says, between the bytes of `range`; returns where they end then.
  func clean(_ message: inout Buffer, _ range: Range<Int>) -> Int {
    var end = range.upperBound, position = range.lowerBound
    while let line = names.first(of: reserved, in: message.bytes, position..<end) {
      message.remove(line.range)
      position = line.range.lowerBound
      end -= line.range.count
    }
    return end
  }
}

extension Gateway {
  /// The route whose preflight the request in `services.head` is, if it is one.
  /// - Parameter isRewritten: whether the normal form of its path is in `services.path`.
  @inline(never)
  mutating func preflightRoute(_ bytes: Span<UInt8>, isRewritten: Bool) -> Int? {
    var path = Buffer.absent
    swap(&path, &services.path)
    let route = isRewritten ? preflightRoute(bytes, path) : preflightRoute(bytes, services.head.path.text(in: bytes))
    swap(&path, &services.path)
    return route
  }

  private mutating func preflightRoute(_ bytes: Span<UInt8>, _ path: borrowing Buffer) -> Int? { preflightRoute(bytes, path.bytes) }

  private mutating func preflightRoute(_ bytes: Span<UInt8>, _ path: Span<UInt8>) -> Int? {
    guard services.head.records.only("origin", bytes) != nil,
      let asked = services.head.records.only("access-control-request-method", bytes), asked.text(in: bytes).isTokenList
    else { return nil }
    let match = table.match(
      host: services.head.host.text(in: bytes), path: path, method: Method(asked.text(in: bytes)), captures: &services.captures)
    guard case .route(let route) = match, actions.edits.routes[route].cors >= 0 else { return nil }
    return route
  }

  /// Whether the request in `services.head` looks like a preflight.
  mutating func asksBeforehand(_ bytes: Span<UInt8>) -> Bool {
    services.head.method == .options && services.head.records.only("access-control-request-method", bytes) != nil
  }

  /// Answers a preflight.
  @inline(never)
  mutating func answerPreflight(_ client: Handle, _ route: Int, _ id: RequestID, _ length: Int, _ input: inout Buffer) {
    let rule = actions.edits.crossOrigin.rules[Int(actions.edits.routes[route].cors)]
    guard rule.origins.isAny || actions.edits.crossOrigin.admits(rule, services.head.records, input.bytes) else {
      return decline(client, .corsOriginRefused, allow: nil, id, length, &input, route: route)
    }
    let context = contextOfHead()
    let before = services.responses.output.count
    guard reserve(client, 4096) else { return }
    services.responses.begin(.noContent, context, server: plan.serverHeader)
    services.responses.output.append("X-Request-Id: ")
    append(id, input.bytes)
    services.responses.output.append("\r\nVary: Access-Control-Request-Method, Access-Control-Request-Headers\r\n")
    services.responses.end(context)
    finishLocal(client, 204, .none, route: route, id, context, sent: services.responses.output.count - before, body: 0, length, &input)
  }
}

extension Span<HeaderField> {
  /// The value of the field of that name, if there is exactly one.
  fileprivate func only(_ name: StaticString, _ bytes: Span<UInt8>) -> Extent? {
    var found: Extent?
    for index in indices where self[index].isNamed(.other) && self[index].nameText.text(in: bytes).equalsIgnoringCase(name) {
      if found != nil { return nil }
      found = self[index].value
    }
    return found
  }
}

extension Span<UInt8> {
  /// Whether the bytes are tokens with commas and blanks between, and not many.
  fileprivate var isTokenList: Bool {
    guard 1...1024 ~= count else { return false }
    for index in indices {
      switch self[index] {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2e, 0x5e...0x60, 0x7c, 0x7e, 0x2c, 0x20: break
      default: return false
      }
    }
    return true
  }
}
