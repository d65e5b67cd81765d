// BreakerSegment — the segment of circuit breakers: made when the first is needed, kept as long as the master lives.
//
// An upstream's breaker is found again by the upstream's name, so that its state outlives reloads. It begins anew when the upstream
// has moved, because what was known was known of another place; its counts do when the window has another length.
// An entry is free again when no generation uses it.

import Control
import Kernel
import Plan
import Policy
import SharedState

final class BreakerSegment {
  private struct Home: Equatable {
    var host: String
    var port: UInt16
  }

  /// Nil: nobody has needed one yet.
  private(set) var table: BreakerTable?
  /// The table's file, and the bell's; nil while there is no table.
  private(set) var files: (table: SharedFile, bell: SharedFile)?
  private var bell = Bell(Descriptor.none)
  /// Where the upstream of an entry was when its breaker was adopted.
  private var homes: [Int: Home] = [:]

  /// The entries of `plan`'s upstreams.
  func claim(for plan: Plan) throws(ListenerFailure) -> [Int?] {
    guard plan.upstreams.contains(where: \.breaker.enabled) else { return plan.upstreams.map { _ in nil } }
    let table = try open()
    var entries: [Int?] = []
    for upstream in plan.upstreams {
      guard upstream.breaker.enabled else {
        entries.append(nil)
        continue
      }
      guard let entry = table.claim(upstream.name), let cells = table.cells(entry, row: 0) else { throw ListenerFailure(reason: "there is no room for so many circuit breakers") }
      let breaker = Breaker(cells, upstream.breaker)
      if homes[entry] == nil {
        breaker.setWindow(milliseconds: upstream.breaker.window)
        homes[entry] = Home(host: upstream.host, port: upstream.port)
      }
      entries.append(entry)
    }
    return entries
  }

  private func open() throws(ListenerFailure) -> BreakerTable {
    if let table { return table }
    do {
      let file = SharedFile(try BreakerTable.create())
      bell = try Bell()
      files = (file, SharedFile(try bell.descriptor.duplicate()))
      let made = try BreakerTable(file.descriptor)
      table = made
      return made
    } catch {
      throw ListenerFailure(reason: "cannot make the segment of circuit breakers: \(error.text)")
    }
  }

  /// Goes on with a table that an earlier master has left. What workers had under way that are no more is dropped.
  /// - Parameter living: the rows of those that still are; nil: all of them.
  func restore(_ file: SharedFile, bell kept: SharedFile, living: [Int]?) throws(Errno) {
    let found = try BreakerTable(file.descriptor)
    bell = Bell(try kept.descriptor.duplicate())
    files = (file, kept)
    table = found
    guard let living else { return }
    for row in 0..<Scoreboard.capacity where !living.contains(row) { found.clear(row: row) }
  }

  /// The generation of `plan` has taken over: its settings hold.
  func adopt(_ plan: Plan, _ entries: [Int?]) {
    guard let table else { return }
    for (upstream, entry) in zip(plan.upstreams, entries) {
      guard let entry, let cells = table.cells(entry, row: 0) else { continue }
      let breaker = Breaker(cells, upstream.breaker), home = Home(host: upstream.host, port: upstream.port)
      breaker.setWindow(milliseconds: upstream.breaker.window)
      if let known = homes[entry], known != home { _ = breaker.order(.reset) }
      homes[entry] = home
    }
    bell.ring()
  }

  /// Gives up the entries that are not among `used`.
  func retain(_ used: Set<Int>) {
    guard let table else { return }
    for entry in table.entries where !used.contains(entry) {
      table.free(entry)
      homes[entry] = nil
    }
  }

  /// What a worker is handed.
  var raws: [CInt] { files.map { [$0.table.descriptor.raw, $0.bell.descriptor.raw] } ?? [] }

  /// For the one worker of a single process, which has this segment to itself.
  func bellDuplicate() throws(Errno) -> Bell? { table == nil ? nil : Bell(try bell.descriptor.duplicate()) }

  func use(row: Int) { table?.use(row: row) }

  func ring() { bell.ring() }
}

extension Master {
  /// A worker has ended: what it had under way is dropped, and its probes are given back.
  func releaseBreakers(row: Int) {
    guard let table = breakers.table else { return }
    table.clear(row: row)
    var hasChanged = false
    for (upstream, breaker) in servingBreakers {
      guard let transition = breaker.release(row: row, now: Time.milliseconds) else { continue }
      hasChanged = true
      journal.write(.warn, "upstream \(upstream.name): circuit breaker is \(transition.to.name) since a worker with a probe has died")
    }
    if hasChanged { breakers.ring() }
    releaseEndpointBreakers(row: row)
  }

  /// Gives up the entries that no generation uses.
  func freeBreakers() { breakers.retain(Set(generations.values.flatMap { $0.breakers.compactMap { $0 } })) }

  /// The upstreams of the serving generation that have a breaker.
  var servingBreakers: [(UpstreamPlan, Breaker<BreakerCells>)] {
    guard let table = breakers.table, let record = (supervisor.serving ?? generations.keys.max()).flatMap({ generations[$0] }) else { return [] }
    return zip(record.plan.upstreams, record.breakers).compactMap { upstream, entry in
      entry.flatMap { table.cells($0, row: 0) }.map { (upstream, Breaker($0, upstream.breaker)) }
    }
  }

  // MARK: Operators

  /// Does what an operator wants of the breaker of the upstream `name`.
  func order(_ order: BreakerOrder, breaker name: String) -> ControlAnswer {
    if let answer = orderEndpoints(order, name) { return answer }
    guard let (upstream, breaker) = servingBreakers.first(where: { $0.0.name == name }) else {
      let known = servingBreakers.map(\.0.name).joined(separator: ", ")
      return ControlAnswer(.failed, ["no upstream \"\(name)\" with a circuit breaker (\(known.isEmpty ? "there are none" : "there are: \(known)"))"])
    }
    let text = order.text
    guard breaker.order(order) else { return ControlAnswer(.ok, ["upstream \(upstream.name): circuit breaker \(text) already"]) }
    breakers.ring()
    journal.write(.warn, "upstream \(upstream.name): circuit breaker \(text), as an operator has ordered")
    return ControlAnswer(.ok, ["upstream \(upstream.name): circuit breaker \(text)"])
  }

  /// All breakers, as JSON.
  func breakersText() -> String {
    var json = JSONText()
    let now = Time.milliseconds, microseconds = Clock().now
    json.object { json in
      json.list("breakers") { json in
        for (upstream, breaker) in servingBreakers {
          json.object { json in
            let state = breaker.state, counts = breaker.counts(microseconds: microseconds), probes = breaker.probesNow, load = breaker.memory.underWay()
            json.field("upstream", upstream.name)
            json.field("scope", upstream.breaker.scope == .endpoint ? "endpoint" : "upstream")
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
            json.field("requests_under_way", load.attempts)
            json.field("retries_under_way", load.retries)
            json.field("waiting", load.waiting)
            if upstream.breaker.isAdaptive { json.field("adaptive_limit", ConcurrencyLimit(breaker.memory, upstream.breaker).limit) }
            for total in BreakerTotal.allCases { json.field(Self.snake("\(total)"), breaker.memory.value(of: total)) }
          }
          describeEndpointBreakers(of: upstream, now, microseconds, &json)
        }
      }
    }
    return json.text
  }
}
