// EndpointBreakers — breakers of single endpoints, as the master sees them: what it gives back for dead workers, orders, and what is shown.

import Control
import Kernel
import Plan
import Policy
import SharedState

extension BreakerOrder {
  var text: String {
    switch self {
    case .open: "is held open"
    case .close: "is held closed"
    case .reset: "is closed, and begins anew"
    }
  }
}

extension Master {
  /// An endpoint's breaker.
  private struct Known {
    let upstream: UpstreamPlan
    let endpoint: String
    let breaker: Breaker<EndpointBreakerCells>
  }

  private var servingTable: EndpointTable? { (supervisor.serving ?? generations.keys.max()).flatMap { generations[$0]?.endpoints?.table } }

  /// The breakers of an upstream's endpoints that some worker has spoken of in the last minutes.
  private func endpointBreakers(of upstream: UpstreamPlan) -> [Known] {
    guard upstream.breaker.guardsEndpoints, let table = servingTable else { return [] }
    let now = Time.milliseconds / 1000
    return table.rows(ofUpstream: upstream.name).filter { now - Int64(clamping: table.value(.touched, $0)) < 180 }.map {
      Known(upstream: upstream, endpoint: table.name($0), breaker: Breaker(table.breaker($0), upstream.breaker))
    }.sorted { $0.endpoint < $1.endpoint }
  }

  private var allEndpointBreakers: [Known] { servingBreakers.flatMap { endpointBreakers(of: $0.0) } }

  /// A worker has ended: its probes are given back.
  func releaseEndpointBreakers(row: Int) {
    var hasChanged = false
    for known in allEndpointBreakers {
      guard let transition = known.breaker.release(row: row, now: Time.milliseconds) else { continue }
      hasChanged = true
      journal.write(
        .warn, "upstream \(known.upstream.name): endpoint \(known.endpoint): circuit breaker is \(transition.to.name) since a worker with a probe has died")
    }
    if hasChanged { servingTable?.announceAll() }
  }

  /// Does what an operator wants of the breaker of one endpoint, UPSTREAM/ENDPOINT, or of all of an upstream whose endpoints have breakers. Nil: there
  /// is none of that name.
  func orderEndpoints(_ order: BreakerOrder, _ name: String) -> ControlAnswer? {
    let chosen = allEndpointBreakers.filter { $0.upstream.name == name || "\($0.upstream.name)/\($0.endpoint)" == name }
    guard !chosen.isEmpty else {
      let known = allEndpointBreakers.map { "\($0.upstream.name)/\($0.endpoint)" }
      guard !known.isEmpty, name.contains("/") else { return nil }
      return ControlAnswer(.failed, ["no endpoint \"\(name)\" with a circuit breaker (there are: \(known.joined(separator: ", ")))"])
    }
    var lines: [String] = []
    for one in chosen {
      let title = "upstream \(one.upstream.name): endpoint \(one.endpoint): circuit breaker \(order.text)"
      if one.breaker.order(order) {
        journal.write(.warn, "\(title), as an operator has ordered")
        lines.append(title)
      } else {
        lines.append("\(title) already")
      }
    }
    servingTable?.announceAll()
    return ControlAnswer(.ok, lines)
  }

  func describeEndpointBreakers(of upstream: UpstreamPlan, _ now: Int64, _ microseconds: Int64, _ json: inout JSONText) {
    for known in endpointBreakers(of: upstream) {
      json.object { json in
        let state = known.breaker.state, counts = known.breaker.counts(microseconds: microseconds), probes = known.breaker.probesNow
        json.field("upstream", upstream.name)
        json.field("endpoint", known.endpoint)
        json.field("state", "\(state.phase.name)")
        json.field("held", state.isHeld)
        json.field("dry_run", upstream.breaker.dryRun)
        json.field("trips", state.trips)
        json.field("generation", state.generation)
        if state.phase == .open, !state.isHeld { json.field("retry_in_ms", max(0, state.wait(from: now))) }
        json.field("window_requests", counts.total)
        json.field("window_failures", counts.failures)
        json.field("consecutive_failures", counts.streak)
        if state.phase == .halfOpen {
          json.field("probes_permitted", state.probes)
          json.field("probes_under_way", probes.held)
          json.field("probes_succeeded", probes.succeeded)
        }
        for total in [BreakerTotal.opened, .halfOpened, .closed, .refused, .spared] { json.field(Self.snake("\(total)"), known.breaker.memory.value(of: total)) }
      }
    }
  }
}
