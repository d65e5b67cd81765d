// NameSegment — what workers find out about names: made with a generation, kept over reloads, restarts and upgrades as long as the names are the same.
//
// Other names get another segment, into which is taken over what is known of those that remain: a new generation serves from its first moment,
// be there a server that answers or not. Where names are resolved in another way, what is known counts as due.

import Kernel
import Plan
import Resolution
import SharedState

/// The table and its file, which stays open as long as some generation uses it.
final class NameSegment {
  let file: SharedFile
  let table: NameTable
  private let keys: [UInt64]

  private init(_ keys: [UInt64], rules: UInt64) throws(Errno) {
    file = SharedFile(try NameTable.create(keys: keys, rules: rules))
    table = try NameTable(file.descriptor)
    self.keys = keys
  }

  /// A table that an earlier master has left.
  init(existing file: SharedFile) throws(Errno) {
    table = try NameTable(file.descriptor)
    self.file = file
    keys = table.keys
  }

  /// Differs when the places of things in the table do, or what its words mean.
  static var layout: UInt64 { NameTable.layout &* 31 &+ UInt64(NameState.version) }

  /// The segment for `plan`; nil where there is nothing to be resolved.
  /// - Parameter now: milliseconds of the monotonic clock.
  static func make(for plan: Plan, previous: NameSegment?, now: Int64) throws(Errno) -> NameSegment? {
    guard !plan.names.isEmpty else { return nil }
    let keys = plan.names.map { NameTable.key($0.host, isService: $0.isService) }, rules = plan.dns.fingerprint
    if let previous, previous.keys == keys, previous.table.rules == rules { return previous }
    let segment = try NameSegment(keys, rules: rules)
    guard let previous else { return segment }
    var positions: [UInt64: Int] = [:]
    for (position, key) in previous.keys.enumerated() { positions[key] = position }
    let isDue = previous.table.rules != rules
    for (position, key) in keys.enumerated() {
      guard let old = positions[key], var state = previous.state(of: old) else { continue }
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
    guard let record = supervisor.serving.flatMap({ generations[$0] }), let segment = record.names else { return }
    let now = Time.milliseconds
    json.list("names") { json in
      for (position, name) in record.plan.names.enumerated() {
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
