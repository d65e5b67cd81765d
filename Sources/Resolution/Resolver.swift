// Resolver — looks the names of a plan up, over and over, without ever waiting: c-ares' queries driven by an epoll of its own, in which a
// timer takes the place of what else would have to ask for the time. Whoever owns a resolver watches that one epoll.
//
// What an answer means is decided in NameState; what goes over the network is c-ares'. Workers tell each other what they have found in a
// `NameTable`: before a name is asked for, that is looked at, so that as a rule one of them asks. Each can do without the others.
//
// Invariants: at most `plan.maxInFlight` queries are with c-ares; a lookup ends at its deadline at the latest, and what comes for it later is
// dropped; c-ares' channel is never destroyed within one of its own calls. Times are milliseconds of the monotonic clock.

import CCares
import Kernel
import Plan
import SharedState

/// Resolves the names of one worker.
@safe public final class Resolver {
  /// Files that say how names are resolved.
  public struct Files: Sendable {
    public var hosts = "/etc/hosts"
    public var configuration = "/etc/resolv.conf"

    public init() {}
  }

  /// What is being asked.
  enum Question {
    /// The addresses of one family, of the name or of a target of its SRV records.
    case addresses(PartKey, of: String)
    case services(of: String)
  }

  /// A lookup under way.
  private struct Lookup {
    let number: UInt64
    let deadline: Int64
    /// Queries that have not ended.
    var open = 0
    var parts: [AnswerPart] = []
    /// What SRV records said, and for how long.
    var services: [ServiceRecord] = []
    var seconds = Int.max
  }

  public let names: [NamePlan]
  public let plan: DNSPlan
  public private(set) var states: [NameState]
  /// Lookups that have ended, and those of them without any addresses.
  public private(set) var lookupCount: UInt64 = 0
  public private(set) var failureCount: UInt64 = 0

  private let table: NameTable?
  private let files: Files
  private let poller: Epoll
  private let timer: TimerDescriptor
  private var events = EventList(capacity: 32)
  private var channel: ares_channel?
  private var lookups: [Int: Lookup] = [:]
  private var lastNumber: UInt64 = 0
  private var queue: [(name: Int, lookup: UInt64, question: Question)] = []
  private var queueStart = 0
  /// Queries that c-ares has.
  private var outstanding = 0
  private var changed: Set<Int> = []
  /// Problems that were told, and whether of a part only.
  private var told: [(problem: LookupProblem, isPartial: Bool)]
  private var versions: [UInt64]
  private var epoch: UInt64 = 0
  private var hosts: [String: [IPAddress]] = [:]
  private var hostsStamp: FileStamp?
  private var configurationStamp: FileStamp?
  private var now: Int64
  private var random = SystemRandomNumberGenerator()

  /// - Parameters:
  ///   - table: what workers share; nil: nothing.
  ///   - hesitates: leaves it to others to ask first, for a moment.
  ///   - now: milliseconds of the monotonic clock.
  public init(_ names: [NamePlan], _ plan: DNSPlan, table: NameTable?, hesitates: Bool, files: Files = Files(), now: Int64) throws(Errno) {
    self.names = names
    self.plan = plan
    self.table = table
    self.files = files
    self.now = now
    states = Array(repeating: NameState(), count: names.count)
    versions = Array(repeating: 0, count: names.count)
    told = Array(repeating: (.none, false), count: names.count)
    poller = try Epoll()
    timer = try TimerDescriptor()
    try poller.watchInput(timer.descriptor, token: Resolver.timerToken)
    readHosts()
    configurationStamp = FileStamp(path: files.configuration)
    openChannel()
    for name in names.indices {
      adopt(name)
      if !states[name].isSettled, hesitates { states[name].nextLookup = now + 20 + Int64(random.next() % 30) }
    }
    proceed()
  }

  deinit { if let channel = unsafe channel { unsafe ares_destroy(channel) } }

  private static let timerToken = UInt64.max

  /// What to watch: it becomes readable when `isReady` is to be called.
  public var descriptor: Epoll { _read { yield poller } }

  /// Whether every name has been looked up to an end, good or bad.
  public var isSettled: Bool { states.allSatisfy(\.isSettled) }

  /// The names whose addresses have changed since the last call.
  public func takeChanges() -> [Int] {
    guard !changed.isEmpty else { return [] }
    defer { changed = [] }
    return changed.sorted()
  }

  /// The names that have a problem, or another one than at the last call, or no longer have it.
  public func takeProblems() -> [Int] {
    let news = names.indices.filter { states[$0].problem != told[$0].problem || states[$0].isPartial != told[$0].isPartial }
    for name in news { told[name] = (states[name].problem, states[name].isPartial) }
    return news
  }

  // MARK: Turns

  /// Something is ready.
  public func isReady(now: Int64) {
    self.now = now
    // All that is ready is dealt with, for it is announced once; but not without end.
    for round in 0..<64 {
      poller.wait(into: &events, milliseconds: 0)
      if events.count == 0 { break }
      for position in 0..<events.count {
        let event = events[position]
        guard event.token != Resolver.timerToken else {
          timer.clear()
          continue
        }
        guard let channel = unsafe channel else { continue }
        let socket = ares_socket_t(truncatingIfNeeded: event.token)
        let none = ares_socket_t(-1)
        unsafe ares_process_fd(channel, event.readiness.isDisjoint(with: .readable) ? none : socket, event.readiness.contains(.writable) ? socket : none)
      }
      if round == 63 { return timer.set(1) }
    }
    proceed()
  }

  /// To be called about once a second: looks at what others have found, and at the system's files.
  public func secondBegan(now: Int64) {
    self.now = now
    if let table, table.epoch != epoch {
      epoch = table.epoch
      for name in names.indices { adopt(name) }
    }
    for name in names.indices where states[name].age(plan, now: now) { changed.insert(name) }
    let stamp = FileStamp(path: files.hosts)
    if stamp != hostsStamp { hostsHaveChanged() }
    let configuration = FileStamp(path: files.configuration)
    if configuration != configurationStamp {
      configurationStamp = configuration
      reopenChannel()
    }
    proceed()
  }

  /// Does what is due, and sets the timer for what will be.
  private func proceed() {
    if let channel = unsafe channel {
      // c-ares looks at its own timers only when it is called.
      unsafe ares_process_fd(channel, ares_socket_t(-1), ares_socket_t(-1))
    }
    for (name, lookup) in lookups where lookup.deadline <= now { expire(name) }
    for name in names.indices where states[name].nextLookup <= now && lookups[name] == nil { begin(name) }
    pump()
    setTimer()
  }

  private func setTimer() {
    var next = Int64.max
    for name in names.indices { next = min(next, lookups[name]?.deadline ?? states[name].nextLookup) }
    var delay = next == .max ? 60_000 : max(1, next - now)
    if let channel = unsafe channel {
      var wait = timeval()
      if unsafe ares_timeout(channel, nil, &wait) != nil {
        delay = min(delay, max(1, Int64(wait.tv_sec) * 1000 + Int64(wait.tv_usec) / 1000 + 1))
      }
    }
    timer.set(delay)
  }

  // MARK: Lookups

  private func begin(_ name: Int) {
    // Somebody may have asked already.
    adopt(name)
    guard states[name].nextLookup <= now else { return }
    if let local = localAnswer(name) { return end(name, local) }
    lastNumber += 1
    lookups[name] = Lookup(number: lastNumber, deadline: now + Int64(plan.resolveTimeout))
    if names[name].isService {
      ask(name, .services(of: names[name].host))
    } else {
      askAddresses(name, target: 0, names[name].host)
    }
  }

  private func askAddresses(_ name: Int, target: UInt32, _ host: String) {
    if plan.family != .v6Only { ask(name, .addresses(PartKey(target: target, isIPv6: false), of: host)) }
    if plan.family != .v4Only { ask(name, .addresses(PartKey(target: target, isIPv6: true), of: host)) }
  }

  private func ask(_ name: Int, _ question: Question) {
    guard let number = lookups[name]?.number else { return }
    lookups[name]?.open += 1
    queue.append((name, number, question))
  }

  /// Hands queries to c-ares, as many as may be under way.
  private func pump() {
    guard let channel = unsafe channel else { return }
    while outstanding < plan.maxInFlight, queueStart < queue.count {
      let entry = queue[queueStart]
      queueStart += 1
      guard lookups[entry.name]?.number == entry.lookup else { continue }
      outstanding += 1
      unsafe Query(self, entry.name, entry.lookup, entry.question).send(channel)
    }
    if queueStart == queue.count {
      queue.removeAll(keepingCapacity: queue.count < 256)
      queueStart = 0
    }
  }

  /// One query has ended. Called by c-ares.
  func ended(_ name: Int, _ number: UInt64, _ question: Question, _ outcome: QueryOutcome) {
    outstanding -= 1
    guard lookups[name]?.number == number else { return }
    lookups[name]?.open -= 1
    switch (question, outcome) {
    case (.services, .services(let records, let seconds)): servicesFound(name, records, seconds)
    case (.services, .problem(let problem)): lookups[name]?.parts.append(AnswerPart(PartKey(isIPv6: false), .problem(problem)))
    case (.addresses(let key, _), .addresses(let addresses, let seconds)): addressesFound(name, key, addresses, seconds)
    case (.addresses(let key, _), .problem(let problem)): lookups[name]?.parts.append(AnswerPart(key, .problem(problem)))
    case (.services, .addresses), (.addresses, .services): break
    }
    guard lookups[name]?.open == 0, let lookup = lookups.removeValue(forKey: name) else { return }
    end(name, lookup.parts)
  }

  private func servicesFound(_ name: Int, _ records: [ServiceRecord], _ seconds: Int) {
    let usable = ServiceRecord.usable(records)
    guard !usable.isEmpty else {
      lookups[name]?.parts.append(AnswerPart(PartKey(isIPv6: false), .problem(.noRecords)))
      return
    }
    lookups[name]?.services = usable
    lookups[name]?.seconds = seconds
    var seen: Set<UInt32> = []
    for record in usable where seen.insert(PartKey.number(of: record.target)).inserted { askAddresses(name, target: PartKey.number(of: record.target), record.target) }
  }

  private func addressesFound(_ name: Int, _ key: PartKey, _ addresses: [IPAddress], _ seconds: Int) {
    guard let lookup = lookups[name] else { return }
    var found: [ResolvedAddress] = []
    if key.target == 0 {
      found = addresses.map { ResolvedAddress($0) }
    } else {
      for record in lookup.services where PartKey.number(of: record.target) == key.target {
        found += addresses.map { ResolvedAddress($0, port: record.port, weight: record.weight, priority: record.priority, target: key.target) }
      }
    }
    lookups[name]?.parts.append(AnswerPart(key, .addresses(found, seconds: min(seconds, lookup.seconds))))
  }

  /// The time for a lookup is over: what has not been answered counts as such.
  private func expire(_ name: Int) {
    guard let lookup = lookups.removeValue(forKey: name) else { return }
    var parts = lookup.parts
    var targets: Set<UInt32> = names[name].isService ? Set(lookup.services.map { PartKey.number(of: $0.target) }) : [0]
    if targets.isEmpty { targets = [0] }
    for target in targets {
      for isIPv6 in [false, true] where plan.family != (isIPv6 ? .v4Only : .v6Only) {
        let key = PartKey(target: target, isIPv6: isIPv6)
        if !parts.contains(where: { $0.key == key }) { parts.append(AnswerPart(key, .problem(.timeout))) }
      }
    }
    end(name, parts)
  }

  private func end(_ name: Int, _ parts: [AnswerPart]) {
    lookupCount += 1
    let before = states[name].problem
    if states[name].ended(parts, plan, now: now, random: random.next()) { changed.insert(name) }
    if states[name].problem != .none { failureCount += 1 }
    // Why requests fail is told as well.
    if states[name].addresses.isEmpty, states[name].problem != before { changed.insert(name) }
    publish(name)
  }

  // MARK: Other workers

  private func publish(_ name: Int) {
    guard let table else { return }
    // Who has not found anything must not hide what another has.
    if states[name].problem != .none, let other = table.read(name).flatMap({ NameState(words: $0) }), other.resolvedAt > states[name].resolvedAt { return }
    table.publish(name, states[name].words, now: now)
    versions[name] = table.version(of: name)
  }

  private func adopt(_ name: Int) {
    guard let table else { return }
    let version = table.version(of: name)
    guard version != versions[name] else { return }
    guard let other = table.read(name).flatMap({ NameState(words: $0) }) else { return }
    versions[name] = version
    if states[name].adopt(other, plan, now: now, random: random.next()) { changed.insert(name) }
  }

  // MARK: What is known without a server

  private func localAnswer(_ name: Int) -> [AnswerPart]? {
    guard !names[name].isService else { return nil }
    let host = HostsFile.normal(names[name].host)
    var addresses = hosts[host] ?? []
    // RFC 6761 §6.3.
    if addresses.isEmpty, host == "localhost" || host.hasSuffix(".localhost") { addresses = [IPAddress(v4: 0x7f00_0001), IPAddress(isIPv6: true, high: 0, low: 1)] }
    addresses.removeAll { plan.family == ($0.isIPv6 ? .v4Only : .v6Only) }
    guard !addresses.isEmpty else { return nil }
    return [false, true].compactMap { isIPv6 in
      let own = addresses.filter { $0.isIPv6 == isIPv6 }
      // It holds until the file changes, which is noticed.
      return own.isEmpty ? nil : AnswerPart(PartKey(isIPv6: isIPv6), .addresses(own.map { ResolvedAddress($0) }, seconds: Int(Int32.max)))
    }
  }

  private func readHosts() {
    hostsStamp = FileStamp(path: files.hosts)
    let wanted = Set(names.filter { !$0.isService }.map { HostsFile.normal($0.host) })
    hosts = Kernel.Files.contents(path: files.hosts, limit: HostsFile.sizeLimit).map { HostsFile.addresses(in: $0, of: wanted) } ?? [:]
  }

  private func hostsHaveChanged() {
    let before = hosts
    readHosts()
    for name in names.indices where !names[name].isService {
      let host = HostsFile.normal(names[name].host)
      if before[host] != hosts[host] { lookUpNow(name) }
    }
  }

  private func lookUpNow(_ name: Int) {
    lookups[name] = nil
    states[name].nextLookup = now
  }

  // MARK: c-ares

  /// How long one server may take for one try: a lookup has time for some.
  static func tryTimeout(_ plan: DNSPlan) -> Int { max(100, min(2000, plan.resolveTimeout / 4)) }

  private func openChannel() {
    guard ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS else { return }
    var options = unsafe ares_options()
    unsafe options.flags = CInt(ARES_FLAG_EDNS)
    unsafe options.timeout = CInt(clamping: Resolver.tryTimeout(plan))
    unsafe options.tries = 3
    // Fits into any path's packets (RFC 9715); what does not fit into it comes over TCP.
    unsafe options.ednspsz = 1232
    unsafe options.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
    unsafe options.sock_state_cb = { owner, socket, readable, writable in
      guard let owner = unsafe owner else { return }
      unsafe Unmanaged<Resolver>.fromOpaque(owner).takeUnretainedValue().follow(socket, readable != 0, writable != 0)
    }
    let mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS
    var made: ares_channel?
    let status = unsafe "b".withCString { lookups in
      // Only the network: the file is read here.
      unsafe options.lookups = UnsafeMutablePointer(mutating: lookups)
      return unsafe ares_init_options(&made, &options, CInt(mask))
    }
    guard status == ARES_SUCCESS, let channel = unsafe made else { return }
    unsafe self.channel = unsafe channel
    if !plan.servers.isEmpty { _ = unsafe ares_set_servers_ports_csv(channel, plan.servers.joined(separator: ",")) }
  }

  private func reopenChannel() {
    // What is under way begins anew; its queries end within the call.
    for name in Array(lookups.keys) { lookUpNow(name) }
    if let old = unsafe channel {
      unsafe channel = nil
      unsafe ares_destroy(old)
    }
    openChannel()
  }

  private func follow(_ socket: ares_socket_t, _ readable: Bool, _ writable: Bool) { poller.follow(socket, readable: readable, writable: writable) }
}
