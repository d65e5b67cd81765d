// TopTraffic — requests, failures and latencies by route and upstream, as `top` shows them.

import Glibc
import Kernel
import SharedState

/// The tables of traffic that the master has open: one for each generation.
final class TrafficTables {
  private let process: ProcessID
  private var open: (generation: UInt64, table: TrafficTable, names: [String])?

  init(of process: ProcessID) { self.process = process }

  func sample(generation: UInt64) -> TrafficSample? {
    if open?.generation != generation { open = find(generation) }
    guard let open else { return nil }
    var rows: [TrafficSample.Row] = []
    for row in 0..<open.table.rows {
      let counts = open.table.counts(row: row)
      // Nothing has come this way.
      if counts.requests == 0 { continue }
      let routes = open.table.routes
      let kind: TrafficSample.Kind = row > routes ? .upstream : .route
      let name = row == routes ? "(no route)" : open.names[row < routes ? row : row - 1]
      rows.append(TrafficSample.Row(number: row, kind: kind, name: name, counts: counts))
    }
    return TrafficSample(generation: generation, rows: rows)
  }

  private func find(_ generation: UInt64) -> (UInt64, TrafficTable, [String])? {
    for (number, target) in ProcessFiles.descriptors(of: process) where target.hasPrefix("/memfd:\(TrafficTable.fileName)\(generation) ") {
      guard let file = try? Descriptor(owning: unsafe Glibc.open("/proc/\(process)/fd/\(number)", O_RDWR | O_CLOEXEC)), let table = try? TrafficTable(file) else { continue }
      return (generation, table, table.rowNames())
    }
    return nil
  }
}

/// What a generation has done up to one moment, or between two.
struct TrafficSample {
  enum Kind { case route, upstream }
  struct Row {
    let number: Int
    let kind: Kind
    let name: String
    var counts: TrafficCounts
  }

  let generation: UInt64
  var rows: [Row]

  /// What has come since `before`; of another generation, or nil: everything.
  func since(_ before: TrafficSample?) -> TrafficSample {
    guard let before, before.generation == generation else { return self }
    let old = Dictionary(before.rows.map { ($0.number, $0.counts) }, uniquingKeysWith: { first, _ in first })
    var difference = self
    difference.rows = rows.compactMap { row in
      var row = row
      if let counts = old[row.number] { row.counts = row.counts.since(counts) }
      return row.counts.requests > 0 ? row : nil
    }
    return difference
  }

  func rows(_ kind: Kind) -> [Row] {
    rows.filter { $0.kind == kind }.sorted { ($1.counts.requests, $0.number) < ($0.counts.requests, $1.number) }
  }

  /// All requests.
  var total: TrafficCounts {
    rows.reduce(into: TrafficCounts()) { total, row in if row.kind == .route { total.add(row.counts) } }
  }
}

/// What has come in some seconds, drawn. Pure.
enum TrafficText {
  /// Rows of a table; `--json` has all.
  private static let limit = 10
  private static let shares: [(name: String, share: Double)] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]

  static func text(_ traffic: TrafficSample, seconds: Double, colours: Bool) -> String {
    var text = ""
    for (title, kind) in [("ROUTE", TrafficSample.Kind.route), ("UPSTREAM", .upstream)] {
      let rows = traffic.rows(kind)
      if rows.isEmpty { continue }
      var table = Table(numeric: [1, 2, 3, 4, 5, 6])
      table.rows = [[title, "REQUESTS/S", "FAILED/S", "MEAN", "P50", "P90", "P99"].map { Cell($0, .heading) }]
      for row in rows.prefix(limit) { table.rows.append([Cell(row.name)] + cells(row.counts, seconds)) }
      if kind == .route, rows.count > 1 { table.rows.append([Cell("all", .heading)] + cells(traffic.total, seconds)) }
      text += "\n" + table.text(indent: 0, colours: colours)
      if rows.count > limit { text += "and \(rows.count - limit) more\n" }
    }
    return text
  }

  private static func cells(_ counts: TrafficCounts, _ seconds: Double) -> [Cell] {
    let failed = rate(counts.failures, seconds)
    return [Cell("\(rate(counts.requests, seconds))"), Cell("\(failed)", counts.failures > 0 ? .bad : .plain), Cell(duration(mean(counts)))]
      + shares.map { Cell(counts.quantile($0.share).map(duration) ?? "-") }
  }

  private static func rate(_ count: UInt64, _ seconds: Double) -> Int64 { Int64(clamping: Int((Double(count) / max(seconds, 0.001)).rounded(.up))) }

  private static func mean(_ counts: TrafficCounts) -> Int64 { counts.requests == 0 ? 0 : Int64(clamping: counts.microseconds / counts.requests) }

  /// `31 µs`, `4.2 ms`, `120 ms`, `2.5 s`.
  static func duration(_ microseconds: Int64) -> String {
    func tenths(_ value: Int64, _ unit: Int64) -> String {
      let tenths = value * 10 / unit
      return tenths >= 1000 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }
    if microseconds < 1000 { return "\(microseconds) µs" }
    if microseconds < 1_000_000 { return "\(tenths(microseconds, 1000)) ms" }
    return "\(tenths(microseconds, 1_000_000)) s"
  }

  static func json(_ traffic: TrafficSample, seconds: Double) -> [String: JSONValue] {
    func object(_ counts: TrafficCounts, _ name: String?) -> JSONValue {
      var members: [String: JSONValue] = [
        "requests_per_second": .number(rate(counts.requests, seconds)), "failed_per_second": .number(rate(counts.failures, seconds)), "mean_us": .number(mean(counts)),
      ]
      for (name, share) in shares { if let value = counts.quantile(share) { members["\(name)_us"] = .number(value) } }
      if let name { members["name"] = .string(name) }
      return .object(members)
    }
    return [
      "latency": object(traffic.total, nil), "routes": .list(traffic.rows(.route).map { object($0.counts, $0.name) }),
      "upstreams": .list(traffic.rows(.upstream).map { object($0.counts, $0.name) }),
    ]
  }
}
