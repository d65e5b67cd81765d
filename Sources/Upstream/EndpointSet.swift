// EndpointSet — what one worker knows of one upstream: its endpoints, which of them may be used, and the exchanges that wait for a connection.
//
// Invariants: `members` are the pools of the endpoints that belong to the upstream at present; a pool that is no member any more is retired and ends with
// its last connection. `sole` names the only member while there is just one and it may be used: then nothing is chosen. `balancer` has the
// members that may be used.

import HTTPModel
import Kernel
import Memory
import Plan
import Policy
import SharedState

/// One place that requests of an upstream go to.
public struct Endpoint: Equatable, Sendable {
  /// What it is called in logs, metrics, orders and shared memory. It says who the endpoint is: what is known of an endpoint goes by its name.
  public var name: String
  /// Where it is found: tried in this order, until one can be connected to.
  public var addresses: [SocketAddress]
  /// Its share beside the weights of the others; at least 1.
  public var weight: Int
  /// It is used only when none of those that are no backups can be.
  public var isBackup: Bool

  public init(name: String, addresses: [SocketAddress], weight: Int = 1, isBackup: Bool = false) {
    self.name = name
    self.addresses = addresses
    self.weight = max(1, weight)
    self.isBackup = isBackup
  }

  public init(_ plan: EndpointPlan) {
    let addresses =
      plan.unix.isEmpty ? plan.addresses.compactMap { SocketAddress(host: $0, port: plan.port) } : [SocketAddress(unixPath: plan.unix)].compactMap { $0 }
    self.init(name: plan.name, addresses: addresses, weight: plan.weight, isBackup: plan.isBackup)
  }
}

/// One worker's endpoints of one upstream.
public struct EndpointSet: ~Copyable {
  /// Exchanges that may wait for a connection.
  public static var waitLimit: UInt32 { 256 }

  /// The pool of the only endpoint; -1: one must be chosen, or there is none.
  public internal(set) var sole: Int32 = -1
  /// The pools of all endpoints.
  public internal(set) var members: [UInt32] = []
  public internal(set) var balancer: Balancer
  /// So few endpoints are fit for use that all are used.
  public internal(set) var isPanicking = false
  /// Milliseconds of the monotonic clock at which the shares are computed again, because some endpoint is coming back or out of an ejection; 0: not needed.
  var refreshAt: Int64 = 0
  /// Why there is none that a request could go to.
  public internal(set) var faultWhenNone = Fault.noHealthyEndpoint

  /// Connections of this worker to all of the endpoints, and as many as there may be.
  public internal(set) var connections: UInt32 = 0
  public let connectionLimit: UInt32

  /// The first and last of the exchanges that wait, linked through the exchanges themselves.
  public var firstWaiting: Handle?
  public var lastWaiting: Handle?
  public var waiting: UInt32 = 0

  init(_ plan: BalancePlan, connectionLimit: Int) {
    balancer = Balancer(plan)
    self.connectionLimit = UInt32(clamping: connectionLimit)
  }
}

/// The pools of all endpoints, with what is in flight on them.
public struct PoolTable: ~Copyable, EndpointLoads {
  @usableFromInline var pools = Stack<Pool>(capacity: 16)
  public let table: EndpointTable?
  /// This worker's column of the table; -1: it has none.
  let column: Int

  init(_ table: EndpointTable?, column: Int) {
    self.table = table
    self.column = table?.use(column: column) == true ? column : -1
  }

  public var count: Int { pools.count }

  @inlinable @inline(__always)
  public subscript(index: Int) -> Pool {
    _read { yield pools[index] }
    _modify { yield &pools[index] }
  }

  mutating func append(_ pool: Pool) { pools.append(pool) }

  /// Lets the other workers know what this one has in flight.
  @inline(__always)
  func publish(_ pool: Int) {
    guard let table, column >= 0, pools[pool].row >= 0 else { return }
    table.publish(pools[pool].inFlight, row: Int(pools[pool].row), column: column)
  }

  /// What is in flight on the endpoint of a pool: of all workers, where that is known.
  public func load(of id: UInt32) -> UInt32 {
    guard let table, column >= 0, pools[Int(id)].row >= 0 else { return pools[Int(id)].inFlight }
    return table.inFlight(Int(pools[Int(id)].row), columns: table.columnsUsed)
  }
}
