// Backends — all connections of a worker to its upstreams: leasing, returning, opening, closing.
//
// An upstream is a set of endpoints (EndpointSet; Membership has their coming and going, Choosing the choice among them), each endpoint a pool.
// Idle connections of a pool form a list from the most to the least recently used; the newest is leased
// first, so that surplus ones grow old and are retired. Invariants: a pool's counts agree with its lists; a connection that is
// closed is parked and never removed, which is what makes it safe to pin it (see `Slab.pin`).

import Kernel
import Memory
import Plan
import SharedState

/// What asking for a connection gave.
public enum Lease {
  /// An idle connection, now leased.
  case reused(Handle)
  /// A new one, on which the connect has succeeded at once.
  case connected(Handle)
  /// A new one, still connecting.
  case connecting(Handle)
  /// The pool is at its limit: the exchange may wait.
  case exhausted
  /// The address could not be connected to.
  case failed(Errno)
}

/// The connections and pools of one worker.
public struct Backends: ~Copyable {
  public var connections: Slab<BackendConnection>
  /// One for each endpoint; those of an upstream are named by its set.
  public var pools: PoolTable
  /// One for each upstream.
  public var sets: Stack<EndpointSet>
  /// Connections of all pools, and those of them that are idle.
  public private(set) var connectionCount = 0
  public private(set) var idleCount = 0
  /// Of each pool.
  var endpoints: [Endpoint] = []
  /// Of each pool: the number that its endpoint draws lots by.
  var hashes: [UInt64] = []
  /// Of each pool: what stands for its endpoint in the cookie that binds clients to it; 0 where none does.
  var bindings: [UInt64] = []
  /// Those of them that belong to no upstream any more, in the order in which they were retired.
  var retiredPools: [Int] = []
  /// What new pools are made by.
  let upstreams: [UpstreamPlan]
  let worker: Int
  let workerCount: Int
  /// When the standing of endpoints was last looked at; see `EndpointTable.epoch`.
  var epoch: UInt64 = 0
  /// By group of upstreams: what had been told then, and which they are.
  var news: [UInt64] = []
  var upstreamsOfGroups: [[Int]] = []
  /// Connections that are out of their pools already, and whose owner has to close them: tokens made of their handles.
  public var retired = TokenQueue(capacity: 16)

  /// - Parameters:
  ///   - capacity: connections at most, over all pools.
  ///   - table: what workers share of endpoints; nil: nothing.
  ///   - column: this worker's in the table.
  public init(
    _ upstreams: [UpstreamPlan], worker: Int, of workers: Int, capacity: UInt32, table: EndpointTable? = nil, column: Int = 0, now: Int64 = 0
  ) {
    connections = Slab(capacity: capacity)
    pools = PoolTable(table, column: column)
    sets = Stack(capacity: max(1, upstreams.count))
    self.upstreams = upstreams
    self.worker = worker
    workerCount = workers
    // What is told from here on is news.
    epoch = table?.epoch ?? 0
    news = Self.news(of: table)
    upstreamsOfGroups = Self.groups(of: upstreams)
    for (index, upstream) in upstreams.enumerated() {
      sets.append(EndpointSet(upstream.balance, connectionLimit: max(1, Pool.share(upstream.pool.maxConnections, worker, workers))))
      _ = update(index, upstream.allEndpoints.filter { $0.lookup < 0 }.map { Endpoint($0) }, whenEmpty: .dnsError, now: now)
    }
  }

  private static func news(of table: EndpointTable?) -> [UInt64] {
    guard let table else { return [] }
    return (0..<EndpointTable.newsCount).map { table.news(ofGroup: $0) }
  }

  private static func groups(of upstreams: [UpstreamPlan]) -> [[Int]] {
    var groups = [[Int]](repeating: [], count: EndpointTable.newsCount)
    for (index, upstream) in upstreams.enumerated() { groups[EndpointTable.group(ofUpstream: EndpointTable.key(upstream: upstream.name))].append(index) }
    return groups
  }

  /// How many addresses the endpoint of a pool has.
  public func addressCount(of pool: Int) -> Int { endpoints.indices.contains(pool) ? endpoints[pool].addresses.count : 0 }

  /// One of them, as text for logs.
  public func describe(address: Int, of pool: Int) -> String {
    addressCount(of: pool) > address && address >= 0 ? endpoints[pool].addresses[address].description : "?"
  }

  /// What the endpoint of a pool is called.
  public func name(of pool: Int) -> String { endpoints.indices.contains(pool) ? endpoints[pool].name : "" }

  /// Appends one of the addresses of a pool's endpoint as `address:port`; nothing where there is none, or no room.
  public func append(address: Int, of pool: Int, to output: inout Buffer) {
    guard address >= 0, addressCount(of: pool) > address, output.freeCapacity >= 64 else { return }
    let place = endpoints[pool].addresses[address]
    guard !place.isUnix else {
      let name = Array(place.description.utf8)
      return name.count <= output.freeCapacity ? output.append(name.span) : ()
    }
    let text = PeerText(place), port = Int(place.port)
    let isIPv6 = text.ipv6 != nil
    if isIPv6 { output.append("[") }
    output.append(text.span)
    if isIPv6 { output.append("]") }
    output.append(":")
    output.append(decimal: port)
  }

  // MARK: Leasing

  /// Leases the newest idle connection that is fit for another request, or nil when there is none.
  /// Those found unfit on the way are closed.
  /// - Parameter checked: look at the socket first, for requests that could not be sent twice.
  public mutating func reuse(_ pool: Int, now: Int64, checked: Bool) -> Handle? {
    while pools[pool].newest != .max {
      guard let handle = connections.handle(at: pools[pool].newest) else { return nil }
      let connection = unsafe connections.pin(handle)
      unlinkNewest(connection, pool)
      if isFit(connection, pool, now), !(checked && connections[connection].socket.hasInput) {
        connections[connection].requests += 1
        if pools[pool].countsLoad { beginLoad(connection, pool) }
        return handle
      }
      retire(handle)
    }
    return nil
  }

  @inline(__always)
  private func isFit(_ connection: Pin<BackendConnection>, _ pool: Int, _ now: Int64) -> Bool {
    if connections[connection].hasEnded || connections[connection].isReadable { return false }
    if pools[pool].lifetime > 0, now - connections[connection].createdAt >= pools[pool].lifetime { return false }
    return pools[pool].requestLimit == 0 || connections[connection].requests < pools[pool].requestLimit
  }

  /// Opens a connection for one exchange, making room by closing the oldest idle one when the upstream has as many as it may.
  /// - Parameters:
  ///   - mayMultiplex: whether it may turn out to speak HTTP/2, so that others can wait for it.
  ///   - isForRequest: whether it counts as a request in flight.
  ///   - watch: registers the new socket; when it throws, the connection is dropped.
  public mutating func open(
    _ pool: Int, address: Int, now: Int64, mayMultiplex: Bool = false, isForRequest: Bool = true,
    watch: (borrowing Socket, Handle) throws(Errno) -> Void
  ) -> Lease {
    let set = Int(pools[pool].upstream)
    if sets[set].connections >= sets[set].connectionLimit {
      guard let oldest = oldestIdle(preferring: pool) else { return .exhausted }
      retire(oldest)
    }
    guard address < addressCount(of: pool), address >= 0 else { return .failed(.other(0)) }
    do throws(Errno) {
      var isConnected = false
      let socket = try Socket.connect(to: endpoints[pool].addresses[address], isConnected: &isConnected)
      let connection = BackendConnection(
        socket, upstream: pools[pool].upstream, pool: pool, address: address, state: isConnected ? .leased : .connecting, now: now)
      guard let handle = connections.insert(connection) else { return .exhausted }
      pools[pool].connections += 1
      sets[set].connections += 1
      connectionCount += 1
      connections[handle].requests = 1
      if pools[pool].countsLoad, isForRequest { unsafe beginLoad(connections.pin(handle), pool) }
      if mayMultiplex {
        connections[handle].mayMultiplex = true
        pools[pool].opening += 1
      }
      do throws(Errno) {
        try watch(connections[handle].socket, handle)
      } catch {
        close(handle)
        throw error
      }
      return isConnected ? .connected(handle) : .connecting(handle)
    } catch {
      return .failed(error)
    }
  }

  /// The connect has succeeded, and bytes go by way of `carrier` from now on, which is not ready yet.
  public mutating func secure(_ handle: Handle, carrier: Handle) {
    connections[handle].carriage = .secure
    connections[handle].carrier = carrier
    connections[handle].state = .securing
  }

  /// The connection is ready for a request.
  public mutating func established(_ handle: Handle) {
    connections[handle].state = .leased
    settleProtocol(handle)
  }

  /// Nobody need wait any more for the connection to show what it can do for others.
  public mutating func settleProtocol(_ handle: Handle) {
    guard connections[handle].mayMultiplex else { return }
    connections[handle].mayMultiplex = false
    pools[Int(connections[handle].pool)].opening -= 1
  }

  // MARK: HTTP/2

  /// Whether another connection can be opened.
  public func hasRoom(_ pool: Int) -> Bool {
    let set = Int(pools[pool].upstream)
    return sets[set].connections < sets[set].connectionLimit || oldestIdle(preferring: pool) != nil
  }

  /// The idle connection that makes room for another: of the pool itself, or else the oldest of its upstream.
  private func oldestIdle(preferring pool: Int) -> Handle? {
    if let own = connections.handle(at: pools[pool].oldest) { return own }
    let set = Int(pools[pool].upstream)
    var oldest: Handle?
    for index in 0..<sets[set].members.count {
      guard let other = connections.handle(at: pools[Int(sets[set].members[index])].oldest) else { continue }
      if oldest.map({ connections[other].idleSince < connections[$0].idleSince }) ?? true { oldest = other }
    }
    return oldest
  }

  /// The connection carries HTTP/2 from now on, and is leased by nobody. Others wait until its protocol is settled.
  public mutating func multiplex(_ handle: Handle, session: Handle) {
    connections[handle].state = .multiplexed
    connections[handle].session = session
    connections[handle].exchange = nil
    if connections[handle].isCounted { unsafe endLoad(connections.pin(handle)) }
  }

  /// A stream of the connection `handle`; nil when there is no room for it. It counts as no connection.
  /// - Parameters:
  ///   - carrier: its record.
  ///   - requests: sent on the connection, this one included.
  public mutating func addStream(of handle: Handle, carrier: Handle, requests: UInt32, now: Int64) -> Handle? {
    let address = connections[handle].address, upstream = connections[handle].upstream, pool = connections[handle].pool
    let stream = connections.insert(BackendConnection(streamTo: address, upstream: upstream, pool: pool, carrier: carrier, requests: requests, now: now))
    if let stream, pools[Int(pool)].countsLoad { unsafe beginLoad(connections.pin(stream), Int(pool)) }
    return stream
  }

  /// The connection carries something other than HTTP from now on, and will not be given back.
  public mutating func tunnel(_ handle: Handle) { connections[handle].state = .tunnelled }

  /// The response's body goes from the connection's socket to its client's without being looked at; or no longer does.
  public mutating func splice(_ handle: Handle, _ isSpliced: Bool) { connections[handle].state = isSpliced ? .spliced : .leased }

  // MARK: Idle ones

  /// The most recently used idle connection of a pool.
  public func newestIdle(_ pool: Int) -> Handle? { connections.handle(at: pools[pool].newest) }

  /// The idle connection that was used before this one.
  public func olderIdle(_ handle: Handle) -> Handle? { connections.handle(at: connections[handle].older) }

  // MARK: Giving back

  /// Keeps a leased connection for another request; false when it had to be closed instead.
  /// - Precondition: its response has been read completely, and its request sent completely.
  public mutating func giveBack(_ handle: Handle, now: Int64) -> Bool {
    let connection = unsafe connections.pin(handle)
    let pool = Int(connections[connection].pool)
    connections[connection].exchange = nil
    if connections[connection].isCounted { endLoad(connection) }
    guard pools[pool].idle < pools[pool].idleLimit, isFit(connection, pool, now) else {
      retire(handle)
      return false
    }
    connections[connection].state = .idle
    connections[connection].idleSince = now
    connections[connection].older = pools[pool].newest
    connections[connection].newer = .max
    if let next = connections.handle(at: pools[pool].newest) {
      connections[next].newer = handle.index
    } else {
      pools[pool].oldest = handle.index
    }
    pools[pool].newest = handle.index
    pools[pool].idle += 1
    idleCount &+= 1
    return true
  }

  /// Closes a connection, in whatever state it is. The caller has detached its exchange.
  public mutating func close(_ handle: Handle) {
    guard connections.contains(handle) else { return }
    if connections[handle].state == .idle { unlinkIdle(handle) }
    if connections[handle].isCounted { unsafe endLoad(connections.pin(handle)) }
    settleProtocol(handle)
    if connections[handle].state != .retired, connections[handle].state != .stream { leavePool(handle) }
    connections[handle].vacate()
    connections.park(handle)
  }

  private mutating func leavePool(_ handle: Handle) {
    pools[Int(connections[handle].pool)].connections -= 1
    sets[Int(connections[handle].upstream)].connections -= 1
    connectionCount -= 1
  }

  /// Takes a connection out of its pool. What has a carrier must be closed by who keeps that.
  mutating func retire(_ handle: Handle) {
    guard connections[handle].carriage != .plain else { return close(handle) }
    if connections[handle].state == .idle { unlinkIdle(handle) }
    leavePool(handle)
    connections[handle].state = .retired
    retired.append(UInt64(handle.generation) << 32 | UInt64(handle.index))
  }

  /// Takes the newest idle connection of a pool out of its list: it is leased.
  @inline(__always)
  private mutating func unlinkNewest(_ connection: Pin<BackendConnection>, _ pool: Int) {
    let older = connections[connection].older
    pools[pool].newest = older
    if let next = connections.handle(at: older) { connections[next].newer = .max } else { pools[pool].oldest = .max }
    connections[connection].state = .leased
    pools[pool].idle -= 1
    idleCount &-= 1
  }

  private mutating func unlinkIdle(_ handle: Handle) {
    let pool = Int(connections[handle].pool)
    let newer = connections[handle].newer, older = connections[handle].older
    if let next = connections.handle(at: newer) { connections[next].older = older } else { pools[pool].newest = older }
    if let next = connections.handle(at: older) { connections[next].newer = newer } else { pools[pool].oldest = newer }
    connections[handle].newer = .max
    connections[handle].older = .max
    connections[handle].state = .leased
    pools[pool].idle -= 1
    idleCount &-= 1
  }

  // MARK: In flight

  @inline(never)
  private mutating func beginLoad(_ connection: Pin<BackendConnection>, _ pool: Int) {
    guard !connections[connection].isCounted else { return }
    connections[connection].isCounted = true
    pools[pool].inFlight &+= 1
    pools.publish(pool)
  }

  @inline(never)
  private mutating func endLoad(_ connection: Pin<BackendConnection>) {
    connections[connection].isCounted = false
    let pool = Int(connections[connection].pool)
    if pools[pool].inFlight > 0 { pools[pool].inFlight &-= 1 }
    pools.publish(pool)
  }
}
