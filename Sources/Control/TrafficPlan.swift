// TrafficPlan — the table of traffic that a plan asks for.

import Kernel
import Plan
import SharedState

extension TrafficTable {
  /// Creates the file of a generation's table: a row for each of its routes and upstreams, a column for each worker.
  public static func create(for plan: Plan, generation: UInt64) throws(Errno) -> Descriptor {
    let routes = plan.routes.map { ($0.hosts.first ?? "") + $0.pattern + ($0.hosts.count > 1 ? " (\($0.hosts.count) hosts)" : "") }
    return try create(routes: routes, upstreams: plan.upstreams.map(\.name), columns: plan.workers, name: fileName + "\(generation)")
  }
}
