// EndpointSegment — the table of endpoints: made with the first generation that has upstreams, kept over reloads as long as it is large enough.
//
// A plan for which it is too small gets another, which takes over what is known of endpoints; workers of the old generation go on with theirs while
// they drain, and what they have in flight is not counted in the new one.

import Kernel
import Plan
import SharedState

/// The table and its file, which stays open as long as some generation uses it.
final class EndpointSegment {
  let file: SharedFile
  let table: EndpointTable

  private init(rows: Int, columns: Int) throws(Errno) {
    file = SharedFile(try EndpointTable.create(rows: rows, columns: columns))
    table = try EndpointTable(file.descriptor)
  }

  /// A table that an earlier master has left.
  init(existing file: SharedFile) throws(Errno) {
    table = try EndpointTable(file.descriptor)
    self.file = file
  }

  /// Drops what workers had in flight that are no more.
  /// - Parameter living: the rows of those that still are.
  func dropColumns(but living: [Int]) {
    for column in 0..<table.columnCount where !living.contains(column) { table.dropColumn(column) }
  }

  /// The table for `plan`; nil where there are no upstreams.
  static func make(for plan: Plan, previous: EndpointSegment?) throws(Errno) -> EndpointSegment? {
    guard !plan.upstreams.isEmpty else { return nil }
    let rows = EndpointTable.rows(endpoints: plan.upstreams.reduce(0) { $0 + max(1, $1.endpoints.count) }, upstreams: plan.upstreams.count)
    let columns = EndpointTable.columns(workers: plan.workers)
    if let previous, previous.table.rowCount >= rows, previous.table.columnCount >= columns { return previous }
    let segment = try EndpointSegment(rows: rows, columns: columns)
    if let previous { segment.table.copy(from: previous.table) }
    return segment
  }
}

extension Master {
  /// Drops what the worker of a row of the scoreboard, which has ended, had in flight and under way.
  func dropColumns(_ row: Int) {
    var dropped: [ObjectIdentifier] = []
    for segment in generations.values.compactMap(\.endpoints) where !dropped.contains(ObjectIdentifier(segment)) {
      segment.table.dropColumn(row)
      segment.table.ceaseToLead(row: row)
      dropped.append(ObjectIdentifier(segment))
    }
    dropConcurrency(row)
  }
}
