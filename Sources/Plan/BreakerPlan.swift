// BreakerPlan — when an upstream is left alone for a while, and how many retries it is spared.

/// The circuit breaker and the retry budget of one upstream, over all workers. Durations in milliseconds.
public struct BreakerPlan: Equatable, Sendable, BitwiseCopyable {
  /// What has a breaker of its own.
  public enum Scope: UInt8, Equatable, Sendable, BitwiseCopyable, CaseIterable {
    case upstream
    /// Each endpoint; one that is open is passed over by balancing.
    case endpoint
  }

  public var enabled = false
  public var scope = Scope.upstream
  /// Percentage of the endpoints whose open breakers are heeded at the same time; for `.endpoint`.
  public var maxEjection = 50
  /// What would be refused is only counted and logged.
  public var dryRun = false
  /// Failures in a row that open it.
  public var consecutiveFailures = 5
  /// Percentage of failures within the window that opens it, from so many requests on.
  public var failureRate = 50
  public var minimumVolume = 20
  public var window = 10_000
  /// Requests let through to see whether the upstream has recovered; all of them must succeed.
  public var probes = 5
  /// How long it stays open the first time; twice as long each further time, up to the second value.
  public var baseOpenDuration = 5_000
  public var maxOpenDuration = 60_000
  /// Retries under way at the same time: so many in any case, and beyond that this percentage of the other requests.
  public var retryBudget = 20
  public var retryMinimum = 3
  /// Requests under way at the same time, and those that may wait for a connection; 0: any number.
  public var maxRequests = 0
  public var maxPending = 0
  /// Whether the number of requests under way is limited by what the upstream takes without becoming slow: between these, and as long as
  /// responses take no longer than this percentage of the shortest time.
  public var isAdaptive = false
  public var adaptiveMinimum = 4
  public var adaptiveMaximum = 1_000
  public var adaptiveTolerance = 200

  public init() {}
}
