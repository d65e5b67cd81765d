// NameSegment — what workers find out about names: made with a generation, kept over reloads as long as the names are the same.
//
// Other names get another segment, into which is taken over what is known of those that remain: a new generation serves from its first moment,
// be there a server that answers or not. Where names are resolved in another way, what is known counts as due.

import Kernel
import Plan
import Resolution
import SharedState

/// The table and its file, which stays open as long as some generation uses it.
final class NameSegment {
  let names: [NamePlan]
  let rules: DNSPlan
  let file: Descriptor
  let table: NameTable

  private init(_ names: [NamePlan], _ rules: DNSPlan) throws(Errno) {
    self.names = names
    self.rules = rules
    file = try NameTable.create(names: names.count)
    table = try NameTable(file)
  }

  /// The segment for `plan`; nil where there is nothing to be resolved.
  /// - Parameter now: milliseconds of the monotonic clock.
  static func make(for plan: Plan, previous: NameSegment?, now: Int64) throws(Errno) -> NameSegment? {
    guard !plan.names.isEmpty else { return nil }
    if let previous, previous.names == plan.names, previous.rules == plan.dns { return previous }
    let segment = try NameSegment(plan.names, plan.dns)
    guard let previous else { return segment }
    var positions: [NamePlan: Int] = [:]
    for (position, name) in previous.names.enumerated() { positions[name] = position }
    let isDue = previous.rules != plan.dns
    for (position, name) in plan.names.enumerated() {
      guard let old = positions[name], var state = previous.state(of: old) else { continue }
      if isDue { state.makeDue(now: now) }
      segment.table.publish(position, state.words, now: now)
    }
    return segment
  }

  /// What is known of a name; nil: nothing.
  func state(of position: Int) -> NameState? { table.read(position).flatMap { NameState(words: $0) } }
}

extension Master {
  /// The names of the generation that serves, and what its workers have found.
  func describeNames(_ json: inout JSONText) {
    guard let segment = supervisor.serving.flatMap({ generations[$0]?.names }) else { return }
    let now = Time.milliseconds
    json.list("names") { json in
      for (position, name) in segment.names.enumerated() {
        let state = segment.state(of: position) ?? NameState()
        json.object { json in
          json.field("name", name.host)
          json.field("service", name.isService)
          json.list("addresses") { json in
            for address in state.addresses { json.field(nil, address.text) }
          }
          if state.resolvedAt > 0 {
            json.field("age_ms", max(0, now - state.resolvedAt))
            json.field("ttl_left_ms", max(0, state.goodUntil - now))
          }
          json.field("stale", state.isStale(now: now))
          if state.problem == .none { json.null("error") } else { json.field("error", state.problem.text) }
        }
      }
    }
  }
}
