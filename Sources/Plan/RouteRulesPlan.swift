// RouteRulesPlan — what a route does with its requests and responses besides its one action.

/// Rules of one route.
public struct RouteRulesPlan: Equatable, Sendable {
  /// Of requests on their way to the backend.
  public var request = HeaderEditPlan()
  /// Of responses on their way to the client.
  public var response = HeaderEditPlan()
  public var bounds = RequestBoundsPlan()
  /// Tokens that a request takes of each zone of the rate limits.
  public var rateLimitCost = 1
  /// A template for the target of forwarded requests; empty: it is the client's.
  public var rewrite = ""
  /// Nil: the gateway has no say in who may read responses.
  public var cors: CORSPlan?
  public var split = SplitPlan()
  /// Nil: requests are not copied.
  public var mirror: MirrorPlan?
  /// Nil: as the access log says.
  public var accessLog: RouteLogPlan?

  public init() {}
}

/// Where copies of a route's requests go, and which.
public struct MirrorPlan: Equatable, Sendable {
  public var name = ""
  /// Index into `Plan.upstreams`.
  public var upstream = 0
  /// Thousandths of a percent of the requests.
  public var percent = 100_000
  /// Copies at the same time, over all workers.
  public var maxConcurrent = 100
  /// Bytes; a request with a longer body is not copied.
  public var maxBodySize = 65_536
  /// Milliseconds that a copy may take, from its being sent to the end of its answer.
  public var timeout = 10_000
  /// Whether requests that must not be repeated blindly are copied, too.
  public var nonIdempotent = false

  public init() {}
}

/// Which web origins may read the responses of a route.
public struct CORSPlan: Equatable, Sendable {
  /// See Policy's OriginPattern.
  public var origins: [String] = []
  /// Empty: those of the route.
  public var methods: [String] = []
  /// `*`: any.
  public var headers: [String] = []
  public var exposed: [String] = []
  public var credentials = false
  /// Milliseconds that a browser may remember the answer to a preflight.
  public var maxAge = 600_000

  public init() {}
}

/// How the requests of a route are divided between upstreams.
public struct SplitPlan: Equatable, Sendable {
  /// Empty: there is one upstream.
  public var arms: [SplitArmPlan] = []
  /// A template; requests for which it is the same go the same way. Empty: each goes its own.
  public var key = ""

  public init() {}
}

/// One of the upstreams.
public struct SplitArmPlan: Equatable, Sendable {
  public var name = ""
  /// Index into `Plan.upstreams`.
  public var upstream = 0
  /// Of all requests, this one's share of the sum of all weights.
  public var weight = 1
  /// Requests with one of these come here whatever the weights: names are `header:NAME` or `cookie:NAME`.
  public var when: [HeaderPlan] = []

  public init() {}
}

/// Bounds on what clients send and take, where they are the route's own; nil: the gateway's hold. 0 means no bound.
public struct RequestBoundsPlan: Equatable, Sendable {
  /// Bytes.
  public var maxBodySize: Int?
  /// Milliseconds that a pause in a body may last, or a body that is collected.
  public var requestTimeout: Int?
  /// Milliseconds that a client may take none of the response.
  public var sendTimeout: Int?

  public init() {}
}

/// Changes of a message's header fields. Names are tokens; values are templates (Policy's Template) that have been checked.
public struct HeaderEditPlan: Equatable, Sendable {
  /// Fields that are taken out.
  public var remove: [String] = []
  /// Fields that take the place of those of the same name; one name's values follow each other.
  public var set: [HeaderPlan] = []
  /// Fields that are put where there is none of that name.
  public var fallback: [HeaderPlan] = []
  /// Fields that are put behind those of the same name.
  public var add: [HeaderPlan] = []
  /// Whether a field whose value has come out empty is sent all the same.
  public var keepEmpty = false
  /// Whether they hold for the gateway's own error answers, too. Of responses only.
  public var always = false

  public init() {}

  public var isEmpty: Bool { remove.isEmpty && set.isEmpty && fallback.isEmpty && add.isEmpty }
}
