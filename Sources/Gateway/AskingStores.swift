// AskingStores — questions about keys whose buckets a Redis server has, and what its answers mean for those who wait.
//
// Questions of one turn leave together at its end. Whatever goes wrong, nobody waits longer than `redis.timeout_ms`: then the zone's fallback holds. After
// some failures in a row the server is not asked any more, and tried now and then (StoreLinks). Nothing in here resumes a request while another is being
// dispatched: those who are settled stand in a queue until the event, or the turn, is over.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import RateStore
import SharedState
import Telemetry

extension Gateway {
  // MARK: Asking

  /// Asks about the key of the request at hand. With `.waiting` it has become the latest waiter, and is to be parked.
  @inline(never)
  mutating func askStore(_ client: Handle, zone index: Int, cost: Int64, _ key: Span<UInt8>, _ note: RateNote) -> StoreDecision {
    let zone = stores.zones[index]
    let digest = KeyDigest(key, salt: zone.words.salt.span)
    switch stores.held[index].decide(digest.high, cost: cost, now: services.nowMicroseconds) {
    case .admitted(let remaining):
      counters.add(.storeHeldAdmissions)
      return .decided(RateOutcome(isAdmitted: true, remaining: remaining, untilToken: 0, untilAdmitted: 0))
    case .refused(let remaining, let untilToken, let untilAdmitted):
      counters.add(.storeHeldRefusals)
      return .decided(RateOutcome(isAdmitted: false, remaining: remaining, untilToken: untilToken, untilAdmitted: max(untilToken, untilAdmitted)))
    case .unknown(let token):
      guard !stores.links[zone.store].breaker.isOpen else { return .absent }
      let known = Handle(token: token)
      if token != 0, stores.questions.contains(known) { return joinQuestion(known, client, zone: index, cost: cost, note) ? .waiting : .absent }
      guard let question = sendQuestion(index, digest, cost: cost) else { return .absent }
      return joinQuestion(question, client, zone: index, cost: cost, note) ? .waiting : .absent
    }
  }

  /// Puts a question among what goes to the server at the end of the turn; nil when it cannot be asked.
  mutating func sendQuestion(_ zone: Int, _ key: KeyDigest, cost: Int64) -> Handle? {
    let link = stores.zones[zone].store, batch = stores.zones[zone].batch
    guard beginLink(link) else { return nil }
    // So many wait that another one would hardly be answered in time.
    guard stores.links[link].connection.hasRoom(StoreCommand.limit) else {
      counters.add(.storeFailures)
      return nil
    }
    let wanted = max(batch, cost)
    guard
      let question = stores.questions.insert(
        StoreQuestion(zone: Int32(truncatingIfNeeded: zone), key: key, cost: cost, wanted: wanted, askedAt: services.nowMicroseconds))
    else { return nil }
    StoreCommand.ask(stores.zones[zone].words, key, cost: cost, wanted: wanted, withScript: false, to: &stores.links[link].connection.output)
    stores.links[link].connection.expect(question.token)
    counters.add(.storeQuestions)
    // Others with the same key wait for its answer, rather than take as many tokens each.
    if batch > 1 { _ = stores.held[zone].begin(key.high, question: question.token) }
    return question
  }

  /// Asks once more, as the server does not know the script.
  private mutating func sendAgain(_ question: Handle, _ link: Int) -> Bool {
    guard stores.links[link].connection.hasRoom(StoreCommand.longLimit) else { return false }
    stores.questions[question].hasScript = true
    let asked = stores.questions[question]
    StoreCommand.ask(
      stores.zones[Int(asked.zone)].words, asked.key, cost: asked.cost, wanted: asked.wanted, withScript: true, to: &stores.links[link].connection.output)
    stores.links[link].connection.expect(question.token)
    counters.add(.storeQuestions)
    return true
  }

  // MARK: Answers

  /// A question has been answered.
  mutating func take(_ reply: StoreReply, to question: Handle, of link: Int) {
    guard stores.questions.contains(question) else { return }
    let asked = stores.questions[question]
    switch reply {
    case .verdict(let verdict) where verdict.taken <= asked.wanted && (verdict.taken == 0 || verdict.taken >= asked.cost):
      counters.add(.storeAnswers)
      counters.add(.storeMicroseconds, UInt64(clamping: services.nowMicroseconds - asked.askedAt))
      storeSucceeded(link)
      distribute(verdict, question)
    case .error(let text) where text.hasPrefix("NOSCRIPT") && !asked.hasScript:
      if !sendAgain(question, link) { abandonQuestion(question) }
    case .error(let text):
      abandonQuestion(question)
      // Something else stands where a bucket should be: that is this key's trouble, not the server's.
      let isKeys = text.hasPrefix("WRONGTYPE") || text.hasPrefix("ERR the key holds no bucket")
      if isKeys {
        counters.add(.storeFailures)
        tellOdd(Int(asked.zone), text)
      } else {
        answerFailed(link, .refused(text))
      }
    case .verdict, .text, .other:
      abandonQuestion(question)
      storeFailed(link, .malformed)
    }
  }

  /// Shares what was taken among those who wait, in their order.
  private mutating func distribute(_ verdict: StoreVerdict, _ question: Handle) {
    let asked = stores.questions[question]
    let zone = Int(asked.zone)
    var left = verdict.taken
    while let waiter = stores.questions[question].first {
      let cost = stores.waiters[waiter].cost
      if left >= cost {
        left -= cost
        let remaining = verdict.remaining + left
        settle(waiter, .decided(RateOutcome(isAdmitted: true, remaining: remaining, untilToken: remaining > 0 ? 0 : verdict.untilToken, untilAdmitted: 0)))
        continue
      }
      // There may be more where this has come from.
      if verdict.taken == asked.wanted { break }
      let until = max(verdict.untilToken, verdict.untilAdmitted)
      settle(waiter, .decided(RateOutcome(isAdmitted: false, remaining: verdict.remaining, untilToken: verdict.untilToken, untilAdmitted: until)))
    }
    let rest = stores.questions[question].first
    removeQuestion(question)
    if left > 0 { stores.held[zone].keep(asked.key.high, tokens: left, remaining: verdict.remaining, now: services.nowMicroseconds) }
    if verdict.taken == 0 { stores.held[zone].refuse(asked.key.high, cost: asked.cost, verdict, askedAt: asked.askedAt) }
    if let rest { askAgain(rest, zone, asked.key) }
  }

  /// Asks for those who were left over by an answer.
  private mutating func askAgain(_ first: Handle, _ zone: Int, _ key: KeyDigest) {
    let question = sendQuestion(zone, key, cost: stores.waiters[first].cost)
    var next: Handle? = first
    while let waiter = next {
      next = stores.waiters[waiter].next
      if let question { append(waiter, to: question) } else { settle(waiter, .absent) }
    }
  }

  /// Gives a question up; the fallback holds for those who wait.
  mutating func abandonQuestion(_ question: Handle) {
    guard stores.questions.contains(question) else { return }
    while let waiter = stores.questions[question].first { settle(waiter, .absent) }
    removeQuestion(question)
  }

  /// Takes a question out. Those who still wait for it are in nobody's list, but linked with each other.
  private mutating func removeQuestion(_ question: Handle) {
    let asked = stores.questions[question]
    stores.held[Int(asked.zone)].end(asked.key.high, question: question.token)
    var next = asked.first
    while let waiter = next {
      stores.waiters[waiter].question = nil
      next = stores.waiters[waiter].next
    }
    _ = stores.questions.remove(question)
  }

  private mutating func settle(_ waiter: Handle, _ decision: StoreDecision) {
    leaveQuestion(waiter)
    stores.waiters[waiter].decision = decision
    stores.settled.append(waiter.token)
  }

  /// Goes on with the requests that have been decided about.
  @inline(never)
  mutating func resumeSettled() {
    // Others may be settled meanwhile; they have their turn in this round as well, but not without end.
    for _ in 0..<max(64, 2 * stores.settled.count) {
      guard let token = stores.settled.popFirst() else { return }
      let waiter = Handle(token: token)
      guard stores.waiters.contains(waiter), clients[stores.waiters[waiter].client].flags.isDisjoint(with: .doomed) else { continue }
      resume(waiter)
    }
  }

  /// No answer has come in time.
  @inline(never)
  mutating func answerIsLate(_ client: Handle) {
    let waiter = clients[client].waiter
    guard clients[client].flags.contains(.asking), stores.waiters.contains(waiter) else { return }
    let link = stores.zones[Int(stores.waiters[waiter].zone)].store
    // It may have been settled in this very turn.
    if stores.waiters[waiter].decision == .waiting {
      counters.add(.storeTimeouts)
      leaveQuestion(waiter)
      stores.waiters[waiter].decision = .absent
      answerFailed(link, .timeout)
    }
    resume(waiter)
    resumeSettled()
  }

  // MARK: Without an answer

  /// What the fallback of a zone makes of a request. Nil: the buckets in shared memory are to be asked.
  mutating func fallBack(_ index: Int) -> StoreFallback? {
    switch stores.zones[index].fallback {
    case .allow:
      counters.add(.storeAllowed)
      return .admit
    case .deny:
      counters.add(.storeDenied)
      return .refuse
    case .local:
      counters.add(.storeLocal)
      return nil
    }
  }

  private mutating func tellOdd(_ zone: Int, _ text: String) {
    let name = limits.plan.zones[zone].name
    log.write(.warn, key: EventKey("rate limit key", zone), "rate limit \(name): a key of its prefix holds something else: \(text)")
  }
}

/// What a request without an answer gets.
enum StoreFallback: Equatable { case admit, refuse }
