// ControlMessage — what the master and a worker say to each other, one record per packet.
//
// Descriptors travel beside the record; which ones a message carries is said at its case. A record that
// cannot be understood decodes to nil, and the reader treats the channel as broken: the two ends are the
// same program, so this never happens while both are sound.

/// The language of the orders that a worker may be given while it serves, and of its reports. It is raised when their encoding changes, `start` and
/// `listeners` excepted: a master of another version that takes over workers must speak it.
public enum WorkerLanguage { public static let version: UInt32 = 1 }

/// From the master to a worker.
public enum WorkerOrder: Equatable, Sendable {
  /// The first message: who the worker is. Descriptors: plan, scoreboard, then the error log and the access log as flagged, then the
  /// tables of rate limits and of limits on what is under way, the segment of circuit breakers and its bell.
  case start(StartRecord)
  /// A batch of listening sockets, one descriptor each, in this order; follows `start` until all are there.
  case listeners([ListenerRecord])
  /// Accept on the sockets of these slots, and on those that all workers share. A worker accepts nothing before its first `adopt`.
  case adopt([Int])
  /// Stop accepting on the sockets of these slots: their own worker is back.
  case release([Int])
  /// Take what already waits in the queues, close all listening sockets, finish what is in flight within so many
  /// milliseconds, report `drained`, exit. May be repeated with an earlier deadline; `hurry` tells that a later
  /// generation needs the room.
  case drain(milliseconds: Int, hurry: Bool)
  /// Write what is buffered in the logs and exit.
  case stopNow
  /// Write to these from now on. Descriptors: error log, access log, as flagged.
  case reopen(errorLog: Bool, accessLog: Bool)
  /// Certificates have changed: use those of this plan for connections that come from now on. Descriptor: the plan.
  case certificates
  /// Use these keys for session tickets from now on: one behind the other, the newest first.
  case ticketKeys([UInt8])
}

/// From a worker to the master.
public enum WorkerReport: Equatable, Sendable {
  /// Everything is built: it waits for `adopt`.
  case ready
  /// It cannot serve, and why; it exits.
  case failed(String)
  /// It has closed its listening sockets and accepts nothing any more.
  case ceased
  /// Nothing is in flight any more; it exits.
  case drained
}

/// Who a worker is.
public struct StartRecord: Equatable, Sendable {
  public var generation: UInt64 = 0
  /// Among the workers of its generation, 0 ..< workerCount.
  public var slot = 0
  public var workerCount = 1
  /// Its row in the scoreboard.
  public var row = 0
  public var masterProcess: Int32 = 0
  /// Listening sockets that follow, in all batches together.
  public var listenerCount = 0
  public var hasErrorLog = false
  public var hasAccessLog = false
  /// Standard output is looked at (foreground): event lines go there as well.
  public var hasConsole = true
  /// Keys of session tickets, as in `ticketKeys`.
  public var ticketKeys: [UInt8] = []
  /// Tables of rate limits, in the order of the plan's zones.
  public var rateTableCount = 0
  /// …and of limits on what is under way, likewise.
  public var concurrencyTableCount = 0
  /// What workers share of endpoints comes along; it is there whenever there are upstreams.
  public var hasEndpointTable = false
  /// …and what they share of names, where there are any to be resolved.
  public var hasNameTable = false
  /// Whether the segment of circuit breakers comes along, with the bell that is rung when one changes.
  public var hasBreakers = false
  /// Whether the table of traffic comes along.
  public var hasTraffic = false

  public init() {}

  fileprivate mutating func describe(to archive: inout Archive) {
    archive.number(&generation)
    archive.number(&slot)
    archive.number(&workerCount)
    archive.number(&row)
    archive.number(&masterProcess)
    archive.number(&listenerCount)
    archive.flag(&hasErrorLog)
    archive.flag(&hasAccessLog)
    archive.flag(&hasConsole)
    archive.data(&ticketKeys)
    archive.number(&rateTableCount)
    archive.number(&concurrencyTableCount)
    archive.flag(&hasEndpointTable)
    archive.flag(&hasNameTable)
    archive.flag(&hasBreakers)
    archive.flag(&hasTraffic)
    if slot < 0 || rateTableCount < 0 || rateTableCount > 64 || concurrencyTableCount < 0 || concurrencyTableCount > 16 || workerCount < 1 || slot >= workerCount || row < 0 || listenerCount < 0 { archive.fail() }
  }
}

/// What one listening socket is.
public struct ListenerRecord: Equatable, Sendable {
  /// Index into `Plan.listeners`.
  public var listener = 0
  /// The slot whose worker serves it; nil: every worker does (a Unix socket has one queue for all).
  public var slot: Int?

  public init(listener: Int = 0, slot: Int? = nil) {
    self.listener = listener
    self.slot = slot
  }

  fileprivate mutating func describe(to archive: inout Archive) {
    archive.number(&listener)
    var number = slot ?? -1
    archive.number(&number)
    slot = number < 0 ? nil : number
    if listener < 0 { archive.fail() }
  }
}

extension WorkerOrder {
  public var encoded: [UInt8] {
    var archive = Archive()
    var copy = self
    copy.describe(to: &archive)
    return archive.bytes
  }

  public init?(decoding bytes: [UInt8]) {
    var archive = Archive(reading: bytes)
    self = .stopNow
    describe(to: &archive)
    guard archive.isComplete else { return nil }
  }

  private var kind: UInt8 {
    switch self {
    case .start: 1
    case .listeners: 2
    case .adopt: 3
    case .release: 4
    case .drain: 5
    case .stopNow: 6
    case .reopen: 7
    case .certificates: 8
    case .ticketKeys: 9
    }
  }

  private mutating func describe(to archive: inout Archive) {
    var kind = kind
    archive.number(&kind)
    switch kind {
    case 1:
      var record = StartRecord()
      if case .start(let own) = self { record = own }
      record.describe(to: &archive)
      self = .start(record)
    case 2:
      var records: [ListenerRecord] = []
      if case .listeners(let own) = self { records = own }
      archive.list(&records, blank: ListenerRecord()) { $1.describe(to: &$0) }
      self = .listeners(records)
    case 3, 4:
      var slots: [Int] = []
      if case .adopt(let own) = self { slots = own }
      if case .release(let own) = self { slots = own }
      archive.list(&slots, blank: 0) {
        $0.number(&$1)
        if $1 < 0 { $0.fail() }
      }
      self = kind == 3 ? .adopt(slots) : .release(slots)
    case 5:
      var milliseconds = 0
      var hurry = false
      if case .drain(let ownTime, let ownHurry) = self { (milliseconds, hurry) = (ownTime, ownHurry) }
      archive.number(&milliseconds)
      archive.flag(&hurry)
      if milliseconds < 0 { archive.fail() }
      self = .drain(milliseconds: milliseconds, hurry: hurry)
    case 6: self = .stopNow
    case 7:
      var errorLog = false
      var accessLog = false
      if case .reopen(let ownError, let ownAccess) = self { (errorLog, accessLog) = (ownError, ownAccess) }
      archive.flag(&errorLog)
      archive.flag(&accessLog)
      self = .reopen(errorLog: errorLog, accessLog: accessLog)
    case 8: self = .certificates
    case 9:
      var keys: [UInt8] = []
      if case .ticketKeys(let own) = self { keys = own }
      archive.data(&keys)
      self = .ticketKeys(keys)
    default: archive.fail()
    }
  }
}

extension WorkerReport {
  public var encoded: [UInt8] {
    var archive = Archive()
    var copy = self
    copy.describe(to: &archive)
    return archive.bytes
  }

  public init?(decoding bytes: [UInt8]) {
    var archive = Archive(reading: bytes)
    self = .ready
    describe(to: &archive)
    guard archive.isComplete else { return nil }
  }

  private mutating func describe(to archive: inout Archive) {
    var kind: UInt8 =
      switch self {
      case .ready: 1
      case .failed: 2
      case .ceased: 3
      case .drained: 4
      }
    archive.number(&kind)
    switch kind {
    case 1: self = .ready
    case 2:
      var reason = ""
      if case .failed(let own) = self { reason = own }
      archive.text(&reason)
      self = .failed(reason)
    case 3: self = .ceased
    case 4: self = .drained
    default: archive.fail()
    }
  }
}
