// RouteActions — the routes of a plan, made ready: what each index of the route table leads to.
//
// Everything that can be done once is done here: fixed responses are composed, redirect templates parsed, and
// the settings of forwarding laid flat.

import Compression
import HTTP2
import HTTPModel
import Memory
import Plan
import Policy
import Upstream
import Wire

/// What a route leads to; the index is into the table of its kind.
enum ActionIndex: BitwiseCopyable {
  case forward(Int)
  case respond(Int)
  case redirect(Int)
  /// One of several forward rules.
  case split(Int)
  case echo(Int)
  case health
  case stats
  case file(Int)
  /// A fixed answer that is there in several codings.
  case respondCoded(Int)
  /// For some addresses only.
  case restricted(Int)
}

/// A fixed answer by coding: indices into the coded answers; negative: it is not there.
struct CodedResponse: BitwiseCopyable {
  var identity: Int
  var gzip = -1
  var brotli = -1
  var zstd = -1
}

/// An action that not everybody may use.
struct RestrictedAction: BitwiseCopyable {
  /// Index of the rule that says who.
  let rule: Int
  let action: ActionIndex
}

/// A forward rule with what only its upstream knows.
struct ForwardRule: BitwiseCopyable {
  let plan: ForwardPlan
  let style: RequestStyle
  let collectsRequest: Bool
  /// Whether its exchanges have a limit of their own, are retried or hedged, have their heads changed or their responses rewritten, go where
  /// something of them says, or have to be let through by their upstream's guard.
  let isGuarded: Bool
  /// As `isGuarded`, but for what the upstream's guard does.
  let isSpecial: Bool
  /// With which its exchanges begin.
  let marks: ExchangeFlags
  /// What of a request its upstream's balancing goes by.
  let balance: BalanceRule
  /// Whether what is said of a request's way depends on its peer, or is said in Forwarded (ForwardedWay).
  let tellsWay: Bool
  /// Whether connections to the upstream begin with a header of the PROXY protocol.
  let announces: Bool
  /// What is rewritten in the responses of exchanges with the mark `.rewrites`.
  let rewriter: ResponseRewriter
  /// Fields of the request that are not copied to the backend.
  let dropped: HeaderNameSet
  /// Fields of the response that are not copied to the client.
  let droppedFromResponse: HeaderNameSet

  /// - Parameters:
  ///   - judges: what a request says of its way is believed only of trusted proxies.
  ///   - hasEdits: the route has header rules.
  ///   - compresses: responses are compressed where they and the client allow it.
  ///   - captures: the names of the route's.
  init(_ plan: ForwardPlan, _ upstream: UpstreamPlan, judges: Bool, hasEdits: Bool, compresses: Bool, captures: [String]) {
    balance = BalanceRule(upstream.balance, captures: captures)
    announces = upstream.proxyProtocol != .off
    tellsWay = judges || plan.setForwarded
    self.plan = plan
    style = RequestStyle(plan)
    collectsRequest = upstream.requestMode == .buffered
    rewriter = ResponseRewriter(location: plan.rewriteLocation, cookiePath: plan.rewriteCookiePath)
    var marks: ExchangeFlags = []
    if plan.rewriteLocation || plan.rewriteCookiePath { marks.insert(.rewrites) }
    if compresses { marks.insert(.mayCompress) }
    if hasEdits { marks.insert(.edits) }
    self.marks = marks
    isSpecial = plan.timeout > 0 || plan.retry.maxRetries > 0 || plan.hedgeDelay > 0 || !marks.isEmpty || balance.isActive
    isGuarded = isSpecial || upstream.breaker.enabled
    var dropped: HeaderNameSet = HeaderNameSet.hopByHop
    dropped.formUnion([HeaderNameSet(.host), HeaderNameSet(.expect), HeaderNameSet(.requestID)])
    // Nobody but the gateway says who a client is.
    dropped.formUnion([HeaderNameSet(.clientCertSubject), HeaderNameSet(.clientCertFingerprint)])
    if plan.setForwardedFor { dropped.insert(HeaderNameSet(.forwardedFor)) }
    if plan.setForwardedProto { dropped.insert(HeaderNameSet(.forwardedProto)) }
    if plan.setForwardedHost { dropped.insert(HeaderNameSet(.forwardedHost)) }
    if plan.setForwarded { dropped.insert(HeaderNameSet(.forwarded)) }
    if plan.setVia { dropped.insert(HeaderNameSet(.via)) }
    self.dropped = dropped
    var droppedFromResponse = HeaderNameSet.hopByHop
    if plan.setVia { droppedFromResponse.insert(HeaderNameSet(.via)) }
    self.droppedFromResponse = droppedFromResponse
  }
}

/// Bounds on what a client sends and takes: sizes in bytes, durations in milliseconds; 0: none.
struct RequestBounds: BitwiseCopyable {
  var maxBodySize: Int
  var requestTimeout: Int
  var sendTimeout: Int

  init(_ plan: Plan) {
    maxBodySize = plan.limits.maxBodySize
    requestTimeout = plan.timeouts.request
    sendTimeout = plan.timeouts.send
  }

  /// Whether a body of `length` bytes is longer than is allowed.
  @inline(__always)
  func exclude(_ length: Int) -> Bool { maxBodySize > 0 && length > maxBodySize }
}

extension ForwardPlan {
  /// How copies are forwarded.
  fileprivate init(_ mirror: MirrorPlan) {
    self.init(upstream: mirror.upstream)
    timeout = mirror.timeout
    sendTimeout = mirror.timeout
    responseTimeout = mirror.timeout
    streamIdleTimeout = mirror.timeout
    buffering = .never
    webSocket = false
  }
}

/// The actions of all routes.
struct RouteActions: ~Copyable {
  var index: BoundedArray<ActionIndex>
  /// The bounds of requests that no route takes, and behind them those of each route.
  var bounds: BoundedArray<RequestBounds>
  /// Whether some route has its own.
  var hasOwnBounds = false
  var forwards: BoundedArray<ForwardRule>
  var responses = Stack<PreparedResponse>()
  var redirects: [TemplatePlace] = []
  var redirectStatuses: [UInt16] = []
  /// The header rules of all routes, and all templates.
  var edits: RouteEdits
  var splits = Splits()
  var mirrors: BoundedArray<MirrorRule>
  /// For each route its mirror; -1: none.
  var mirrorOfRoute: BoundedArray<Int32>
  let mirrorNames = MirrorNames()
  var echoes = Stack<EchoRule>()
  var files = Stack<FileRule>()
  var codedResponses: BoundedArray<CodedResponse>
  /// The answers that these are indices of.
  var codedAnswers = Stack<PreparedResponse>()
  var restricted: BoundedArray<RestrictedAction>
  /// Who may use which.
  var rules = Stack<AddressTable>()
  /// The Host each upstream is addressed by, and its name.
  var hosts = Stack<Buffer>()
  var upstreamNames = Stack<Buffer>()

  init(_ plan: Plan, _ table: borrowing RouteTable, worker: Int, of workers: Int) throws(GatewayFailure) {
    index = BoundedArray(capacity: max(1, plan.routes.count))
    forwards = BoundedArray(capacity: plan.routes.reduce(1) { $0 + max(1, $1.rules.split.arms.count) + ($1.rules.mirror == nil ? 0 : 1) })
    mirrors = BoundedArray(capacity: plan.routes.count { $0.rules.mirror != nil })
    mirrorOfRoute = BoundedArray(capacity: plan.routes.count)
    codedResponses = BoundedArray(capacity: max(1, plan.routes.count))
    edits = RouteEdits(capacity: plan.routes.count)
    bounds = BoundedArray(capacity: plan.routes.count + 1)
    _ = bounds.append(RequestBounds(plan))
    restricted = BoundedArray(capacity: max(1, plan.routes.count { !$0.access.isEmpty }))
    for (position, route) in plan.routes.enumerated() {
      var action: ActionIndex
      var isMirrored = false
      let captures = table.captureNames(ofRoute: position)
      try edits.add(route, captures: captures)
      add(route.rules.bounds, to: RequestBounds(plan))
      switch route.action {
      case .forward(let forward):
        isMirrored = true
        let hasEdits = route.rules.mirror != nil || !route.rules.request.isEmpty || edits.routes[position].concernsResponses || edits.routes[position].rewrites
        let arms = route.rules.split.arms.isEmpty ? [forward.upstream] : route.rules.split.arms.map(\.upstream)
        let first = forwards.count
        for upstream in arms {
          guard plan.upstreams.indices.contains(upstream) else { throw GatewayFailure("route \(route.pattern) names no upstream") }
          var own = forward
          own.upstream = upstream
          _ = forwards.append(ForwardRule(own, plan.upstreams[upstream], judges: plan.clientAddress.isActive, hasEdits: hasEdits, compresses: route.compresses, captures: captures))
        }
        if arms.count == 1 {
          action = .forward(first)
        } else {
          let key = route.rules.split.key
          let template = key.isEmpty ? nil : try edits.add(template: key, .requestField, route, captures: captures)
          action = .split(splits.add(route.rules.split, first: first, route: route.pattern, key: template, empty: .empty))
        }
      case .respond(let respond):
        responses.append(RouteActions.prepare(respond, server: plan.serverHeader))
        action = .respond(responses.count - 1)
        if route.compresses, RouteActions.isCompressible(respond, plan.compression) {
          _ = codedResponses.append(addCoded(respond, plan))
          action = .respondCoded(codedResponses.count - 1)
        }
      case .redirect(let redirect):
        redirects.append(try edits.add(template: redirect.to, .redirect, route, captures: captures))
        redirectStatuses.append(redirect.status)
        action = .redirect(redirects.count - 1)
      case .files(let plan):
        files.append(FileRule(plan, compresses: route.compresses))
        action = .file(files.count - 1)
      case .health: action = .health
      case .stats: action = .stats
      case .echo(let echo):
        echoes.append(EchoRule(echo))
        action = .echo(echoes.count - 1)
      }
      if isMirrored, let mirror = route.rules.mirror {
        guard plan.upstreams.indices.contains(mirror.upstream) else { throw GatewayFailure("route \(route.pattern) names no upstream") }
        _ = mirrorOfRoute.append(Int32(mirrors.count))
        _ = mirrors.append(
          MirrorRule(
            rule: Int32(forwards.count), share: mirror.percent, limit: max(1, Pool.share(mirror.maxConcurrent, worker, workers)),
            maxBodySize: mirror.maxBodySize, copiesNonIdempotent: mirror.nonIdempotent))
        _ = forwards.append(
          ForwardRule(ForwardPlan(mirror), plan.upstreams[mirror.upstream], judges: false, hasEdits: false, compresses: false, captures: []))
      } else {
        _ = mirrorOfRoute.append(-1)
      }
      guard !route.access.isEmpty else {
        _ = index.append(action)
        continue
      }
      rules.append(AddressTable(route.access))
      _ = restricted.append(RestrictedAction(rule: rules.count - 1, action: action))
      _ = index.append(.restricted(restricted.count - 1))
    }
    for upstream in plan.upstreams {
      hosts.append(RouteActions.host(of: upstream))
      upstreamNames.append(RouteActions.buffer(upstream.name))
    }
  }

  /// Copies that can be made at the same time.
  var mirrorCapacity: UInt32 {
    var sum = 0
    for index in 0..<mirrors.count { sum += mirrors[index].limit }
    return UInt32(clamping: min(sum, 1 << 20))
  }

  private mutating func add(_ own: RequestBoundsPlan, to general: RequestBounds) {
    var bounds = general
    if let size = own.maxBodySize { bounds.maxBodySize = size }
    if let time = own.requestTimeout { bounds.requestTimeout = time }
    if let time = own.sendTimeout { bounds.sendTimeout = time }
    if own != RequestBoundsPlan() { hasOwnBounds = true }
    _ = self.bounds.append(bounds)
  }

  private static func prepare(_ plan: RespondPlan, server: Bool, more: String = "", body coded: [UInt8]? = nil) -> PreparedResponse {
    let fields = fields(of: plan) + Array(more.utf8), body = coded ?? Array(plan.body.utf8)
    return PreparedResponse(Status(plan.status), fields: fields.span, body: body.span, server: server)
  }

  /// The same for streams of HTTP/2, where answers have the same index as here.
  static func prepare(_ plan: RespondPlan, server: Bool, in answers: inout PreparedAnswers) {
    let status = Status(plan.status)
    let body = PreparedResponse.hasBody(status) ? Array(plan.body.utf8) : []
    var fields = fields(of: plan)
    if !status.forbidsBody { fields += Array("Content-Length: \(body.count)\r\n".utf8) }
    answers.append(status, fields: fields.span, body: body.span, server: server)
  }

  private static func fields(of plan: RespondPlan) -> [UInt8] {
    var fields: [UInt8] = []
    for header in plan.headers { fields += Array("\(header.name): \(header.value)\r\n".utf8) }
    if !plan.headers.contains(where: { $0.name.lowercased() == "content-type" }), !plan.body.isEmpty {
      fields += Array("Content-Type: text/plain; charset=utf-8\r\n".utf8)
    }
    return fields
  }

  /// Whether a fixed answer is worth while to be had in other codings, and may be.
  private static func isCompressible(_ plan: RespondPlan, _ compression: CompressionPlan) -> Bool {
    let names = plan.headers.map { $0.name.lowercased() }
    guard plan.status >= 200, ![204, 205, 206, 304].contains(plan.status), !names.contains("content-encoding"), !names.contains("etag"), !names.contains("content-range"),
      !plan.headers.contains(where: { $0.name.lowercased() == "cache-control" && $0.value.lowercased().contains("no-transform") }), !plan.body.isEmpty
    else { return false }
    let type = Array((plan.headers.first { $0.name.lowercased() == "content-type" }?.value ?? "text/plain").utf8)
    let rules = CompressionRules(compression)
    return plan.body.utf8.count >= compression.minLength && rules.includes(type.span)
  }

  /// Composes a fixed answer in every coding that makes it shorter; as small as can be, for it is done once.
  private mutating func addCoded(_ respond: RespondPlan, _ plan: Plan) -> CodedResponse {
    let vary = "Vary: Accept-Encoding\r\n"
    codedAnswers.append(RouteActions.prepare(respond, server: plan.serverHeader, more: vary))
    var coded = CodedResponse(identity: codedAnswers.count - 1)
    for (coding, level) in [(ContentCoding.gzip, 9), (.brotli, 9), (.zstd, 19)] {
      guard let bytes = RouteActions.encode(Array(respond.body.utf8), coding, level: level), bytes.count < respond.body.utf8.count else { continue }
      codedAnswers.append(RouteActions.prepare(respond, server: plan.serverHeader, more: "Content-Encoding: \(coding.token)\r\n" + vary, body: bytes))
      switch coding {
      case .gzip: coded.gzip = codedAnswers.count - 1
      case .brotli: coded.brotli = codedAnswers.count - 1
      case .zstd: coded.zstd = codedAnswers.count - 1
      case .identity: break
      }
    }
    return coded
  }

  private static func encode(_ content: [UInt8], _ coding: ContentCoding, level: Int) -> [UInt8]? {
    guard var encoder = Encoder(coding, level: level) else { return nil }
    var output = Buffer(capacity: content.count + 1024), position = 0
    guard case .done = encoder.encode(content.span, at: &position, .finish, into: &output) else { return nil }
    let bytes = output.bytes
    return bytes.indices.map { bytes[$0] }
  }

  /// The Host of an upstream: IPv6 in brackets, no trailing dot, no port where it is the default one.
  static func host(of upstream: UpstreamPlan) -> Buffer {
    var name = upstream.host
    if let tls = upstream.tls, !tls.serverName.isEmpty { name = tls.serverName }
    if name.hasSuffix(".") { name.removeLast() }
    if name.contains(":") { name = "[" + name + "]" }
    return buffer(upstream.port == (upstream.tls == nil ? 80 : 443) ? name : "\(name):\(upstream.port)")
  }

  private static func buffer(_ text: String) -> Buffer {
    let bytes = Array(text.utf8)
    var buffer = Buffer(capacity: max(1, bytes.count))
    buffer.append(bytes.span)
    return buffer
  }
}

/// Why a plan cannot be served.
public struct GatewayFailure: Error, Equatable, Sendable {
  public let reason: String
  init(_ reason: String) { self.reason = reason }
}
