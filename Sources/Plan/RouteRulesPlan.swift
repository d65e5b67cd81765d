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
