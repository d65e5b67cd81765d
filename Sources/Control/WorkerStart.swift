// WorkerStart — everything a worker is given, however it came to be: from the master over the channel, or made
// on the spot for a single process.
//
// Invariant: what is in it is owned by it; the worker takes out what it keeps.

import Kernel
import Plan
import SharedState

/// A listening socket and which it is.
public struct ListenerSockets: ~Copyable {
  public private(set) var records: [ListenerRecord] = []
  private var sockets = DescriptorList()

  public init() {}

  public var count: Int { records.count }

  public mutating func append(_ record: ListenerRecord, _ socket: consuming Descriptor) {
    records.append(record)
    sockets.append(socket)
  }

  /// Moves the socket of `records[position]` out; nil if it was taken before.
  public mutating func take(_ position: Int) -> Descriptor? { sockets.take(position) }
}

/// What a worker begins with.
public struct WorkerStart: ~Copyable {
  public let record: StartRecord
  public let plan: Plan
  public let scoreboard: Scoreboard
  /// The sockets of all slots and listeners: it serves those it is told to.
  public var listeners: ListenerSockets
  /// The tables of rate limits, in the order of the plan's zones.
  public let rateTables: [RateTable]
  /// …and of limits on what is under way, likewise.
  public let concurrencyTables: [ConcurrencyTable]
  /// What workers share of endpoints.
  public let endpoints: EndpointTable?
  /// What workers share of names.
  public let names: NameTable?
  /// The circuit breakers, and the bell that is rung when one changes; nil: there are none.
  public let breakers: BreakerTable?
  public var bell: Bell?
  /// Where the generation counts requests by route and upstream.
  public let traffic: TrafficTable?
  /// What to accept on from the start, without waiting for `adopt`: all slots in a single process, else none.
  public let servedSlots: [Int]
  /// Where the error log goes; nil: standard output.
  public var errorLog: Descriptor?
  /// Where the access log goes; nil: standard output, if it is enabled.
  public var accessLog: Descriptor?

  public init(
    record: StartRecord, plan: Plan, scoreboard: Scoreboard, rateTables: [RateTable], concurrencyTables: [ConcurrencyTable] = [], endpoints: EndpointTable?, names: NameTable? = nil, breakers: BreakerTable? = nil,
    bell: consuming Bell? = nil, traffic: TrafficTable? = nil, listeners: consuming ListenerSockets, servedSlots: [Int], errorLog: consuming Descriptor?, accessLog: consuming Descriptor?
  ) {
    self.record = record
    self.plan = plan
    self.scoreboard = scoreboard
    self.rateTables = rateTables
    self.concurrencyTables = concurrencyTables
    self.endpoints = endpoints
    self.names = names
    self.breakers = breakers
    self.bell = bell
    self.traffic = traffic
    self.listeners = listeners
    self.servedSlots = servedSlots
    self.errorLog = errorLog
    self.accessLog = accessLog
  }
}

extension WorkerStart {
  /// Becomes the user and group of the plan, when there is one and this process is root; to be called when all that
  /// needs rights is done. There is no way back.
  public borrowing func assumeIdentity() throws(IdentityError) {
    guard Process.isRoot, let identity = try Identity.named(user: plan.identity.user, group: plan.identity.group) else { return }
    try identity.assume()
  }
}

extension Plan {
  /// Reads the plan that the master has sealed in `file`.
  public init(sealedIn file: borrowing Descriptor) throws(StartFailure) {
    let bytes: [UInt8]
    do { bytes = try MemoryFile.contents(of: file) } catch { throw StartFailure(reason: "cannot read the plan: \(error.text)") }
    do throws(PlanError) { self = try Plan(decoding: bytes) } catch { throw StartFailure(reason: "the plan cannot be understood (\(error))") }
  }
}

/// Why a worker could not learn who it is.
public struct StartFailure: Error, Equatable {
  public let reason: String
}

extension WorkerChannel {
  /// Receives the first messages, waiting for each of them at most `milliseconds`.
  public mutating func receiveStart(milliseconds: CInt = 10_000) throws(StartFailure) -> WorkerStart {
    guard case .start(let record, var files) = nextStart(milliseconds) else { throw StartFailure(reason: "the master sent no start") }
    guard let planFile = files.take(0), let boardFile = files.take(1) else { throw StartFailure(reason: "the start came without its files") }
    var next = 2
    var errorLog: Descriptor? = nil
    if record.hasErrorLog {
      errorLog = files.take(next)
      next += 1
    }
    var accessLog: Descriptor? = nil
    if record.hasAccessLog {
      accessLog = files.take(next)
      next += 1
    }
    var rateTables: [RateTable] = []
    for position in 0..<record.rateTableCount {
      guard let file = files.take(next + position) else { throw StartFailure(reason: "the start came without its tables") }
      do { rateTables.append(try RateTable(file)) } catch { throw StartFailure(reason: "cannot map a table of rate limits: \(error.text)") }
    }
    next += record.rateTableCount
    var concurrencyTables: [ConcurrencyTable] = []
    for position in 0..<record.concurrencyTableCount {
      guard let file = files.take(next + position) else { throw StartFailure(reason: "the start came without its tables") }
      do { concurrencyTables.append(try ConcurrencyTable(file)) } catch { throw StartFailure(reason: "cannot map a table of concurrency limits: \(error.text)") }
    }
    next += record.concurrencyTableCount
    var endpoints: EndpointTable? = nil
    if record.hasEndpointTable {
      guard let file = files.take(next) else { throw StartFailure(reason: "the start came without the table of endpoints") }
      do { endpoints = try EndpointTable(file) } catch { throw StartFailure(reason: "cannot map the table of endpoints: \(error.text)") }
      next += 1
    }
    var names: NameTable? = nil
    if record.hasNameTable {
      guard let file = files.take(next) else { throw StartFailure(reason: "the start came without the table of names") }
      do { names = try NameTable(file) } catch { throw StartFailure(reason: "cannot map the table of names: \(error.text)") }
      next += 1
    }
    var breakers: BreakerTable?
    var bell: Bell?
    if record.hasBreakers {
      guard let file = files.take(next), let rope = files.take(next + 1) else { throw StartFailure(reason: "the start came without its circuit breakers") }
      do { breakers = try BreakerTable(file) } catch { throw StartFailure(reason: "cannot map the circuit breakers: \(error.text)") }
      bell = Bell(rope)
      next += 2
    }
    var traffic: TrafficTable?
    if record.hasTraffic {
      guard let file = files.take(next) else { throw StartFailure(reason: "the start came without the table of traffic") }
      do { traffic = try TrafficTable(file) } catch { throw StartFailure(reason: "cannot map the table of traffic: \(error.text)") }
    }

    var listeners = ListenerSockets()
    while listeners.count < record.listenerCount {
      guard case .listeners(let records, var sockets) = nextStart(milliseconds), !records.isEmpty else {
        throw StartFailure(reason: "the master sent too few listening sockets")
      }
      for (position, record) in records.enumerated() {
        guard let socket = sockets.take(position) else { throw StartFailure(reason: "a listening socket is missing") }
        listeners.append(record, socket)
      }
    }

    let plan = try Plan(sealedIn: planFile)
    guard rateTables.count == (plan.rateLimit.isActive ? plan.rateLimit.zones.count : 0) else {
      throw StartFailure(reason: "the tables of rate limits are not those of the plan")
    }
    guard concurrencyTables.count == (plan.concurrencyLimit.isActive ? plan.concurrencyLimit.zones.count : 0) else {
      throw StartFailure(reason: "the tables of concurrency limits are not those of the plan")
    }
    for record in listeners.records where !plan.listeners.indices.contains(record.listener) {
      throw StartFailure(reason: "a listening socket belongs to no listener")
    }
    let scoreboard: Scoreboard
    do { scoreboard = try Scoreboard(boardFile) } catch { throw StartFailure(reason: "cannot map the scoreboard: \(error.text)") }
    guard scoreboard.page(record.row) != nil else { throw StartFailure(reason: "there is no row \(record.row) in the scoreboard") }
    return WorkerStart(
      record: record, plan: plan, scoreboard: scoreboard, rateTables: rateTables, concurrencyTables: concurrencyTables, endpoints: endpoints, names: names, breakers: breakers, bell: bell, traffic: traffic, listeners: listeners,
      servedSlots: [], errorLog: errorLog, accessLog: accessLog)
  }

  private enum StartStep: ~Copyable {
    case start(StartRecord, DescriptorList)
    case listeners([ListenerRecord], DescriptorList)
    case other
  }

  private mutating func nextStart(_ milliseconds: CInt) -> StartStep {
    guard socket.awaitInput(milliseconds: milliseconds) else { return .other }
    switch socket.receive() {
    case .message(let bytes, let descriptors):
      switch WorkerOrder(decoding: bytes) {
      case .start(let record): return .start(record, descriptors)
      case .listeners(let records): return .listeners(records, descriptors)
      default: return .other
      }
    case .none: return .other
    case .ended: return .other
    }
  }
}
