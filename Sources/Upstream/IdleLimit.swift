// IdleLimit — how long a backend keeps idle connections: what it announces, or what its closes let guess.
//
// A request that is sent just as the backend closes is lost, or must be sent again; so connections retire a little before. What was
// observed counts when several closes agree, for a backend closes connections for other reasons too; and it is forgotten after a
// while, for it can never be refuted as long as it is kept to.

/// What is known of one upstream's limit. Times in milliseconds.
public struct IdleLimit: BitwiseCopyable, Sendable {
  /// Closes that must agree.
  static var needed: UInt8 { 3 }
  /// How long something counts that is not confirmed.
  static var validity: Int64 { 600_000 }
  /// Closes that come sooner have other reasons.
  static var shortest: Int64 { 100 }

  private var announced: Int64 = 0
  private var observed: Int64 = 0
  private var validUntil: Int64 = 0
  private var candidate: Int64 = 0
  private var agreeing: UInt8 = 0

  public init() {}

  /// A response has said how long its connection will be kept (`Keep-Alive: timeout=`).
  public mutating func announce(_ limit: Int64, now: Int64) {
    announced = max(1, limit)
    validUntil = now + IdleLimit.validity
  }

  /// The backend has closed a connection that had been idle for `duration`, or lost a request that was sent then.
  public mutating func observeClose(after duration: Int64, now: Int64) {
    guard duration >= IdleLimit.shortest else { return }
    if agreeing > 0, abs(duration - candidate) <= max(50, candidate / 16) {
      agreeing = min(agreeing + 1, IdleLimit.needed)
      candidate = min(candidate, duration)
    } else {
      candidate = duration
      agreeing = 1
    }
    if agreeing == IdleLimit.needed {
      observed = candidate
      validUntil = now + IdleLimit.validity
    }
  }

  /// Forgets what has not been confirmed for long.
  public mutating func refresh(now: Int64) {
    if validUntil > 0, now >= validUntil { self = IdleLimit() }
  }

  /// How long connections are to be kept idle where `configured` allows it.
  public func applied(to configured: Int64) -> Int64 {
    var known: Int64 = announced
    if observed > 0 { known = known == 0 ? observed : min(known, observed) }
    guard known > 0 else { return configured }
    return min(configured, max(10, known - min(1000, max(50, known / 4))))
  }
}
