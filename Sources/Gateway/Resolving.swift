// Resolving — names become endpoints, and go on doing so: what the resolver has found is made the endpoints of the upstreams that use the name.
//
// None of this runs for a request. The resolver's epoll is watched by the worker's, and its timer is within it.

import HTTPModel
import Kernel
import Plan
import Resolution
import SharedState
import Telemetry
import Upstream

/// Whether a worker can begin to serve.
public enum ServingReadiness: Equatable, Sendable {
  /// Names are being looked up that nothing is known of.
  case waiting
  case ready
  case failed(String)
}

extension Gateway {
  /// Milliseconds that a worker waits for names before it serves without them.
  static var patience: Int64 { 2_000 }

  static func makeResolver(_ plan: Plan, _ worker: WorkerIdentity, _ table: NameTable?, now: Int64) throws(GatewayFailure) -> Resolver? {
    guard !plan.names.isEmpty else { return nil }
    do {
      return try Resolver(plan.names, plan.dns, table: table, hesitates: worker.slot > 0, now: now)
    } catch {
      throw GatewayFailure("dns: \(error.text)")
    }
  }

  /// Watches what announces that names have been resolved; events with `token` are for `namesAreReady`.
  public borrowing func watchNames(token: UInt32) throws(Errno) {
    guard let resolver else { return }
    try poller.watch(resolver.descriptor, token: Token.foreign(token))
  }

  /// Whether to serve: at once where addresses are known of all names, after a while where they are not.
  public var readiness: ServingReadiness {
    mutating get {
      guard let resolver else { return .ready }
      let waited = services.now - startedAt
      guard plan.dns.required else { return resolver.isSettled || waited >= Self.patience ? .ready : .waiting }
      var isComplete = true
      for (name, state) in zip(plan.names, resolver.states) where state.addresses.isEmpty {
        isComplete = false
        // That there is nothing need not be heard twice.
        if state.problem.isAnswer || waited >= Int64(plan.dns.overallTimeout) {
          return .failed("\(name.isService ? "service" : "host") \(name.host) cannot be resolved: \(state.problem.text) (dns.required)")
        }
      }
      return isComplete ? .ready : .waiting
    }
  }

  /// The resolver has something to do.
  @inline(never)
  public mutating func namesAreReady() {
    guard let resolver else { return }
    resolver.isReady(now: services.now)
    applyNames()
  }

  /// Once a second.
  @inline(never)
  mutating func watchNames() {
    guard let resolver else { return }
    resolver.secondBegan(now: services.now)
    applyNames()
  }

  /// Makes what was found the endpoints of the upstreams.
  mutating func applyNames() {
    guard let resolver else { return }
    counters.store(.dnsLookups, resolver.lookupCount)
    counters.store(.dnsFailures, resolver.failureCount)
    for name in resolver.takeProblems() { tellProblem(name, resolver) }
    let changes = resolver.takeChanges()
    guard !changes.isEmpty else { return }
    for name in changes { tellAddresses(name, resolver) }
    var concerned: Set<Int> = []
    for name in changes { concerned.formUnion(upstreamsOfNames[name]) }
    for index in concerned.sorted() {
      let (list, fault) = endpoints(of: plan.upstreams[index], resolver)
      updateEndpoints(of: index, list, whenEmpty: fault)
    }
  }

  /// For each name the upstreams that have it.
  static func upstreamsOfNames(_ plan: Plan) -> [[Int]] {
    var users = [[Int]](repeating: [], count: plan.names.count)
    for (index, upstream) in plan.upstreams.enumerated() {
      for endpoint in upstream.allEndpoints where users.indices.contains(endpoint.lookup) && users[endpoint.lookup].last != index { users[endpoint.lookup].append(index) }
    }
    return users
  }

  private mutating func endpoints(of upstream: UpstreamPlan, _ resolver: Resolver) -> (list: [Endpoint], fault: Fault) {
    var list: [Endpoint] = []
    var fault = Fault.dnsError
    for endpoint in upstream.allEndpoints {
      guard resolver.states.indices.contains(endpoint.lookup) else {
        list.append(Endpoint(endpoint))
        continue
      }
      let state = resolver.states[endpoint.lookup]
      if state.problem == .timeout { fault = .dnsTimeout }
      let places = Placement.places(
        state.addresses, plan.dns.family, port: endpoint.port, weight: endpoint.weight, isBackup: endpoint.isBackup, maxWeight: EndpointPlan.maxWeight)
      for place in places {
        let addresses = [place.address, place.alternative].compactMap { $0 }.compactMap { SocketAddress(host: $0.text, port: place.port) }
        guard let first = addresses.first else { continue }
        list.append(Endpoint(name: first.description, addresses: addresses, weight: place.weight, isBackup: place.isBackup))
      }
    }
    return (list, fault)
  }

  // MARK: Telling

  /// All workers find the same; one of them says so.
  private var loudness: LogPlan.Level { worker.slot == 0 ? .info : .debug }

  private mutating func tellAddresses(_ name: Int, _ resolver: Resolver) {
    let state = resolver.states[name]
    guard loudness >= log.level, !state.addresses.isEmpty else { return }
    let shown = state.addresses.prefix(8).map(\.text)
    let rest = state.addresses.count - shown.count
    let surplus = state.surplus > 0 ? "; \(state.surplus) more are not used" : ""
    log.write(
      loudness, key: EventKey("name addresses", name),
      "\(plan.names[name].host) has resolved to \(shown.joined(separator: ", "))\(rest > 0 ? " and \(rest) more" : "")\(surplus)")
  }

  private mutating func tellProblem(_ name: Int, _ resolver: Resolver) {
    let state = resolver.states[name]
    if state.problem == .none {
      log.write(loudness, key: EventKey("name recovery", name), "\(plan.names[name].host) can be resolved again")
    } else if state.isPartial {
      log.write(
        worker.slot == 0 ? .warn : .debug, key: EventKey("name problem", name),
        "\(plan.names[name].host) has been resolved in part only: \(state.problem.text); what was known of the rest is used on while it may be")
    } else {
      let consequence =
        state.addresses.isEmpty ? "requests for it are answered 503" : "\(state.addresses.count == 1 ? "the address" : "the \(state.addresses.count) addresses") known so far \(state.addresses.count == 1 ? "is" : "are") used on"
      log.write(
        worker.slot == 0 ? .warn : .debug, key: EventKey("name problem", name), "\(plan.names[name].host) cannot be resolved: \(state.problem.text); \(consequence)")
    }
  }
}
