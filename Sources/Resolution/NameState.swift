// NameState — what is known of one name, and when it is looked up next: decisions without I/O.
//
// Addresses stay in use until something better is known. An answer replaces them; a part of a lookup that was not answered (one
// family, one target) keeps what it had. Where nothing was answered they are stale from the end of their time on, and used for
// `staleLimit` more, or not at all, as the plan says. An answer that there is nothing is believed at once of a name that had nothing, and of
// another when it has come three times: what is a slip while a zone is being changed must not cost requests.
//
// Invariants: there are at most `addressLimit` addresses, all different, in an order that depends on themselves alone; time (milliseconds of
// the monotonic clock) and chance come from outside.

import Kernel
import Plan

/// What one worker knows of one name.
public struct NameState: Equatable, Sendable {
  /// Addresses kept of one name.
  public static let addressLimit = 256
  /// Answers that there is nothing, one after the other, after which it is believed.
  static let disbelief = 3

  public internal(set) var addresses: [ResolvedAddress] = []
  /// When they were last confirmed, and until when that is good; 0: never.
  public internal(set) var resolvedAt: Int64 = 0
  public internal(set) var goodUntil: Int64 = 0
  /// Why the last lookup gave nothing, or not all, and when that was.
  public internal(set) var problem = LookupProblem.none
  public internal(set) var checkedAt: Int64 = 0
  /// Addresses of the last answer beyond those that are kept.
  public internal(set) var surplus = 0
  public internal(set) var nextLookup: Int64 = 0
  var failures: UInt32 = 0
  var denials: UInt32 = 0

  public init() {}

  /// Whether it has been looked up to an end, good or bad.
  public var isSettled: Bool { checkedAt > 0 }

  /// Whether its addresses are used although their time is over.
  public func isStale(now: Int64) -> Bool { !addresses.isEmpty && now >= goodUntil && problem != .none }

  /// Whether the last lookup gave some of what was asked for, and a problem for the rest: one address family, or one target.
  public var isPartial: Bool { problem != .none && resolvedAt > 0 && resolvedAt == checkedAt }

  // MARK: Answers

  /// A lookup has ended.
  /// - Parameter random: evenly distributed; so that not all workers ask at the same moment.
  /// - Returns: whether the addresses have changed.
  public mutating func ended(_ parts: [AnswerPart], _ plan: DNSPlan, now: Int64, random: UInt64) -> Bool {
    let before = addresses
    checkedAt = max(1, now)
    var seconds: Int?
    var problem = LookupProblem.none
    var isComplete = true
    for part in parts {
      switch part.outcome {
      case .addresses(_, let own): seconds = min(seconds ?? own, own)
      case .problem(let own):
        if !own.isAnswer { isComplete = false }
        // What is not an answer tells more than what is.
        if problem == .none || problem.isAnswer && !own.isAnswer { problem = own }
      }
    }
    if let seconds {
      var found: [ResolvedAddress] = []
      for part in parts {
        switch part.outcome {
        case .addresses(let own, _): found += own
        case .problem(let own): if !own.isAnswer, keepsStale(plan, now) { found += addresses.filter { $0.part == part.key } }
        }
      }
      take(found)
      let ttl = min(max(Int64(min(seconds, 1 << 32)) * 1000, Int64(plan.minTTL)), Int64(plan.maxTTL))
      resolvedAt = max(1, now)
      goodUntil = now + ttl
      failures = 0
      denials = 0
      self.problem = isComplete ? .none : problem
      nextLookup = now + (isComplete ? NameState.spread(ttl, random) : min(NameState.spread(ttl, random), Int64(plan.negativeTTL)))
      return addresses != before
    }
    self.problem = problem == .none ? .noRecords : problem
    if isComplete {
      failures = 0
      denials += 1
      if denials >= NameState.disbelief || !keepsStale(plan, now) { drop() }
    } else {
      denials = 0
      failures += 1
      if !keepsStale(plan, now) { drop() }
    }
    // Soon at first, for whoever waits for a name that does not resolve yet.
    let pause = min(Int64(plan.negativeTTL), 500 << Int64(min(max(failures, denials), 16)))
    nextLookup = now + NameState.spread(pause, random)
    return addresses != before
  }

  /// The time for which stale addresses are used may be over; to be called now and then.
  /// - Returns: whether the addresses have changed.
  public mutating func age(_ plan: DNSPlan, now: Int64) -> Bool {
    guard !addresses.isEmpty, problem != .none, now >= goodUntil, !keepsStale(plan, now) else { return false }
    drop()
    return true
  }

  private func keepsStale(_ plan: DNSPlan, _ now: Int64) -> Bool {
    if now < goodUntil { return true }
    return plan.staleOnError && (plan.staleLimit == 0 || now - goodUntil < Int64(plan.staleLimit))
  }

  private mutating func drop() {
    addresses = []
    surplus = 0
  }

  /// Takes the good ones of `found`, each once, and as many as are kept.
  private mutating func take(_ found: [ResolvedAddress]) {
    var all = found.sorted()
    var seen: Set<String> = []
    all.removeAll { !seen.insert("\($0.address.text) \($0.port)").inserted }
    surplus = max(0, all.count - NameState.addressLimit)
    addresses = Array(all.prefix(NameState.addressLimit))
  }

  /// `time` less up to a tenth: what is refreshed is refreshed before it is over, and not by all at once.
  static func spread(_ time: Int64, _ random: UInt64) -> Int64 {
    let part = max(1, time / 10)
    return max(1, time - Int64(random % UInt64(part)))
  }

  // MARK: Others' answers

  /// Takes over what another worker has found out, if it is newer.
  /// - Returns: whether the addresses have changed.
  public mutating func adopt(_ other: NameState, _ plan: DNSPlan, now: Int64, random: UInt64) -> Bool {
    // A clock that does not agree is no reason to believe in the future.
    guard other.resolvedAt > resolvedAt, other.resolvedAt <= now + 1000 else { return false }
    // It may have been found when other families were wanted.
    let wanted = other.addresses.filter { plan.family != ($0.address.isIPv6 ? .v4Only : .v6Only) }
    guard !wanted.isEmpty || other.addresses.isEmpty else { return false }
    let before = addresses
    take(wanted)
    surplus = max(surplus, other.surplus)
    resolvedAt = other.resolvedAt
    goodUntil = min(other.goodUntil, now + Int64(plan.maxTTL))
    problem = other.problem
    checkedAt = max(checkedAt, other.checkedAt, 1)
    failures = 0
    denials = 0
    nextLookup =
      goodUntil <= now ? now : problem == .none ? now + NameState.spread(goodUntil - now, random) : min(goodUntil, now + Int64(plan.negativeTTL))
    return addresses != before
  }

  /// What is known may no longer be good: it is used, and asked for.
  public mutating func makeDue(now: Int64) { goodUntil = min(goodUntil, now) }

  // MARK: As words

  /// To be raised when the meaning of the words changes.
  public static let version: UInt32 = 1
  private static let prefix = 6

  /// What others are told: at most `NameTable.wordLimit` words.
  public var words: [UInt64] {
    var words = [
      UInt64(clamping: resolvedAt), UInt64(clamping: goodUntil), UInt64(clamping: checkedAt), UInt64(problem.rawValue), UInt64(surplus), UInt64(addresses.count),
    ]
    for address in addresses {
      let bits = (address.address.isIPv6 ? UInt64(1) : 0) << 48 | UInt64(address.port) << 32 | UInt64(address.weight) << 16 | UInt64(address.priority)
      words += [address.address.high, address.address.low, bits, UInt64(address.target)]
    }
    return words
  }

  /// Reads what `words` has made; nil when it is something else.
  public init?(words: [UInt64]) {
    guard words.count >= NameState.prefix, words[5] <= UInt64(NameState.addressLimit), words.count == NameState.prefix + 4 * Int(words[5]) else { return nil }
    guard let problem = LookupProblem(rawValue: UInt8(truncatingIfNeeded: words[3])), words[3] < 256 else { return nil }
    guard words[0...2].allSatisfy({ $0 <= UInt64(Int64.max / 4) }) else { return nil }
    resolvedAt = Int64(words[0])
    goodUntil = Int64(words[1])
    checkedAt = Int64(words[2])
    self.problem = problem
    surplus = Int(min(words[4], 1 << 20))
    for position in 0..<Int(words[5]) {
      let base = NameState.prefix + 4 * position
      let bits = words[base + 2]
      let address = IPAddress(isIPv6: bits >> 48 & 1 == 1, high: words[base], low: words[base + 1])
      guard address.isHost else { return nil }
      addresses.append(
        ResolvedAddress(
          address, port: UInt16(truncatingIfNeeded: bits >> 32), weight: UInt16(truncatingIfNeeded: bits >> 16), priority: UInt16(truncatingIfNeeded: bits),
          target: UInt32(truncatingIfNeeded: words[base + 3])))
    }
  }
}
