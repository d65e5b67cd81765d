// StoreLinks — connections to the Redis servers that have buckets of rate limits: begun, greeted, given up and tried again.
//
// With a new connection go the password, the database and the script; questions follow at once, without waiting for what is said to these. A server
// that is given up gets no questions; when `redis.retry_interval_ms` is over it is tried with a bucket of its own, by the script that all questions need.

import Kernel
import Memory
import Plan
import Policy
import RateStore
import Resolution
import SharedState
import Telemetry

extension Gateway {
  /// Reads from a connection in one turn, at most.
  private static var storeReadBudget: Int { 64 }

  // MARK: Beginning

  /// Makes sure that there is a connection, or the beginning of one.
  mutating func beginLink(_ link: Int) -> Bool {
    if stores.links[link].connection.state != .closed { return true }
    return openLink(link)
  }

  private mutating func openLink(_ link: Int) -> Bool {
    let addresses = addresses(of: link)
    guard !addresses.isEmpty else {
      storeFailed(link, .noAddress(nameProblem(of: link)))
      return false
    }
    let place = stores.links[link].place % addresses.count
    stores.links[link].number &+= 1
    let token = Token.make(.store, Handle(index: UInt32(link), generation: stores.links[link].number))
    counters.add(.storeConnects)
    do throws(Errno) {
      try stores.links[link].connection.connect(to: addresses[place])
      try poller.watch(stores.links[link].connection.socket.descriptor, token: token)
    } catch {
      storeFailed(link, .system(error))
      return false
    }
    // A connect, and the first answer.
    stores.links[link].deadline = services.now + 2 * Int64(stores.plan.timeout)
    greet(link)
    return true
  }

  private mutating func addresses(of link: Int) -> [SocketAddress] {
    let plan = stores.links[link].plan
    guard plan.lookup >= 0 else { return stores.links[link].addresses }
    guard let resolver, resolver.states.indices.contains(plan.lookup) else { return [] }
    return resolver.states[plan.lookup].addresses.compactMap { SocketAddress(host: $0.text, port: plan.port) }
  }

  private mutating func nameProblem(of link: Int) -> String {
    let lookup = stores.links[link].plan.lookup
    guard let resolver, resolver.states.indices.contains(lookup), resolver.states[lookup].problem != .none else { return "" }
    return resolver.states[lookup].problem.text
  }

  /// Says what has to be said first on a new connection.
  private mutating func greet(_ link: Int) {
    let plan = stores.links[link].plan
    if !plan.password.isEmpty {
      say(link, plan.user.isEmpty ? ["AUTH", plan.password] : ["AUTH", plan.user, plan.password], .authentication)
    }
    if plan.database > 0 { say(link, ["SELECT", "\(plan.database)"], .selection) }
    say(link, ["SCRIPT", "LOAD", "\(StoreScript.text)"], .script)
  }

  private mutating func say(_ link: Int, _ words: [String], _ step: StoreStep) {
    guard StoreCommand.append(words, to: &stores.links[link].connection.output) else { return }
    stores.links[link].connection.expect(step.token)
  }

  // MARK: Turns

  /// The socket of a server has become ready.
  @inline(never)
  mutating func storeIsReady(_ handle: Handle, _ readiness: Readiness) {
    let link = Int(handle.index)
    guard link < stores.links.count, stores.links[link].number == handle.generation, stores.links[link].connection.state != .closed else { return }
    if let problem = stores.links[link].connection.finishConnecting() {
      stores.links[link].place &+= 1
      storeFailed(link, problem)
      return resumeSettled()
    }
    guard stores.links[link].connection.state == .open else { return }
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) { receiveAnswers(link, handle.generation) }
    // What was put off until now.
    if stores.links[link].number == handle.generation, let problem = stores.links[link].connection.flush() { storeFailed(link, problem) }
    resumeSettled()
  }

  private mutating func receiveAnswers(_ link: Int, _ number: UInt32) {
    var buffer = services.large.take()
    receiveAnswers(link, number, &buffer)
    services.large.recycle(buffer)
  }

  private mutating func receiveAnswers(_ link: Int, _ number: UInt32, _ buffer: inout Buffer) {
    for _ in 0..<Self.storeReadBudget {
      if let arrival = stores.links[link].connection.receive(&buffer) {
        // A server that goes while nothing is asked is no failure.
        if case .failed(let problem) = arrival { endLink(link, problem) }
        return
      }
      while true {
        switch stores.links[link].connection.next() {
        case .nothing: break
        case .failed(let problem): return storeFailed(link, problem)
        case .reply(let token, let reply):
          take(reply, token: token, of: link)
          guard stores.links[link].number == number, stores.links[link].connection.state == .open else { return }
          continue
        }
        break
      }
    }
    storeFailed(link, .unasked)
  }

  private mutating func take(_ reply: StoreReply, token: UInt64, of link: Int) {
    let handle = Handle(token: token)
    guard handle.generation == 0, let step = StoreStep(rawValue: handle.index) else { return take(reply, to: handle, of: link) }
    switch (step, reply) {
    case (.authentication, .text("OK")), (.selection, .text("OK")): break
    case (.script, .text(let digest)) where digest == "\(StoreScript.digest)":
      stores.links[link].place = 0
      guard !stores.links[link].isTrying else { break }
      stores.links[link].deadline = 0
      // Another worker, or an earlier generation, may have given it up.
      tellRecovered(link)
    case (.trial, .verdict): storeSucceeded(link)
    case (_, .error(let text)):
      // What is wrong with the password or the database is wrong for everyone.
      stores.links[link].breaker.giveUp()
      storeFailed(link, .refused(text))
    default: storeFailed(link, .malformed)
    }
  }

  /// At the end of a turn: sends what has been put together, and does what is due.
  @inline(never)
  mutating func proceedWithStores() {
    if !stores.hasStarted { startLinks() }
    for link in 0..<stores.links.count { proceedWithLink(link) }
    if !stores.settled.isEmpty { resumeSettled() }
    if !doomed.isEmpty { reap() }
  }

  @inline(never)
  private mutating func startLinks() {
    stores.hasStarted = true
    for link in 0..<stores.links.count { _ = beginLink(link) }
  }

  @inline(never)
  private mutating func proceedWithLink(_ link: Int) {
    if isTryDue(link) { tryLink(link) }
    if isGreetingLate(link) {
      stores.links[link].place &+= 1
      storeFailed(link, .timeout)
    }
    flushLink(link)
  }

  @inline(never)
  private mutating func isTryDue(_ link: Int) -> Bool {
    stores.links[link].breaker.mayTry(now: services.now) && stores.links[link].connection.state == .closed
  }

  @inline(never)
  private mutating func isGreetingLate(_ link: Int) -> Bool {
    let deadline = stores.links[link].deadline
    return deadline > 0 && services.now >= deadline && stores.links[link].connection.state != .closed
  }

  @inline(never)
  private mutating func flushLink(_ link: Int) {
    if let problem = stores.links[link].connection.flush() { storeFailed(link, problem) }
  }

  /// When `proceedWithStores` is to be called next, in milliseconds from now; nil: not for itself.
  @inline(never)
  mutating func delayUntilStores() -> Int64? {
    if !stores.settled.isEmpty { return 0 }
    var next = Int64.max
    for link in 0..<stores.links.count { next = min(next, nextTurn(of: link)) }
    return next == .max ? nil : max(0, next - services.now)
  }

  /// When there is something to do for a server; `.max`: not for itself.
  @inline(never)
  private mutating func nextTurn(of link: Int) -> Int64 {
    guard stores.links[link].connection.state != .closed else { return stores.links[link].breaker.isOpen ? stores.links[link].breaker.tryAt : .max }
    // Timers have put something together after the turn's end.
    if stores.links[link].connection.wantsFlush { return services.now }
    return stores.links[link].deadline > 0 ? stores.links[link].deadline : .max
  }

  private mutating func tryLink(_ link: Int) {
    stores.links[link].isTrying = true
    guard openLink(link) else { return }
    say(
      link,
      ["EVALSHA", "\(StoreScript.digest)", "1", "\(stores.plan.keyPrefix):rate:trial", "1000000", "1000000", "1", "1"], .trial)
  }

  // MARK: Failing and recovering

  /// The connection has come to an end by itself.
  private mutating func endLink(_ link: Int, _ problem: StoreProblem) {
    guard problem == .closed, stores.links[link].connection.pendingCount == 0, !stores.links[link].isTrying else { return storeFailed(link, problem) }
    closeLink(link)
  }

  private mutating func closeLink(_ link: Int) {
    stores.links[link].connection.close()
    stores.links[link].deadline = 0
    stores.links[link].isTrying = false
    while let token = stores.links[link].connection.popPending() { abandonQuestion(Handle(token: token)) }
  }

  /// The connection is of no use any more: it is closed, and nobody waits for what it would have said.
  mutating func storeFailed(_ link: Int, _ problem: StoreProblem) {
    closeLink(link)
    answerFailed(link, problem)
  }

  /// One question has come to nothing.
  mutating func answerFailed(_ link: Int, _ problem: StoreProblem) {
    counters.add(.storeFailures)
    let wasOpen = stores.links[link].breaker.isOpen
    guard stores.links[link].breaker.failed(now: services.now), !wasOpen else {
      if stores.links[link].breaker.isOpen, stores.links[link].connection.state != .closed { closeLink(link) }
      return log.write(.debug, key: EventKey("rate limit server", link), "rate limits: \(stores.links[link].plan.label): \(problem.text)")
    }
    counters.add(.storeTrips)
    closeLink(link)
    tellGivenUp(link, problem)
  }

  mutating func storeSucceeded(_ link: Int) {
    guard stores.links[link].breaker.succeeded() else { return }
    stores.links[link].isTrying = false
    stores.links[link].deadline = 0
    tellRecovered(link)
  }

  private mutating func tellRecovered(_ link: Int) {
    guard markStore(link, isAway: false) else { return }
    log.write(.info, "rate limits: \(stores.links[link].plan.label) answers again and is asked from now on")
  }

  /// All workers find the same; the one that finds it first says so.
  private mutating func markStore(_ link: Int, isAway: Bool) -> Bool {
    guard let zone = stores.links[link].zones.first, zone < limits.zones.count else { return true }
    return limits.zones.span[zone].limiter.memory.markStore(isAway: isAway)
  }

  private mutating func tellGivenUp(_ link: Int, _ problem: StoreProblem) {
    guard markStore(link, isAway: true) else { return }
    let zones = stores.links[link].zones.map { "\(limits.plan.zones[$0].name) (\(limits.plan.zones[$0].fallback))" }.joined(separator: ", ")
    log.write(
      .warn,
      "rate limits: \(stores.links[link].plan.label) is not asked any more, and tried every \(stores.plan.retryInterval) ms: \(problem.text); fallback of its zones: \(zones)")
  }
}
