// Master — the process that owns what outlives workers: listening sockets, shared memory, PID file, control
// socket, logs. It never reads a byte of a client.
//
// One thread, one loop: wait for signals, workers, the control socket or the next deadline; tell the
// Supervisor; perform what it decides. This file is the loop and its inputs; MasterActions performs.
//
// Invariants: reloads are made one at a time; what fails on the way to a new generation leaves the running
// one as it is; nothing here waits for a worker. While there are log files, there is a turn at least once a
// second, in which they are looked at.

import Control
import Kernel
import Plan
import SharedState
import TLS

/// What the master keeps for a generation while any process of it lives.
struct GenerationRecord {
  let number: UInt64
  /// As it was loaded, and with certificates that have changed since.
  var plan: Plan
  var planFile: SealedPlan
  let listeners: Set<ListenerKey>
  let logs: LogFiles
  let rates: [RateSegment]
  let concurrency: [ConcurrencySegment]
  /// Nil: there are no upstreams.
  let endpoints: EndpointSegment?
  /// Entries in the segment of circuit breakers, by upstream; nil: it has none.
  let breakers: [Int?]
  /// Nil: there is nothing to be resolved.
  let names: NameSegment?
  /// Where its workers count requests by route and upstream. Nil: of a generation of another program.
  var traffic: SharedFile?
  let startedAt: Int64
  /// The effective settings as JSON; nil: they are not known, of a generation of another program.
  var settings: (() -> String)?
}

/// The plan's memory file, shared by all spawns of its generation.
final class SealedPlan {
  let file: Descriptor

  init(_ plan: Plan) throws(Errno) { file = try MemoryFile.sealed(plan.encoded(), name: "gateway plan") }
}

/// Why a slot's last worker died.
struct Death: Equatable {
  let generation: UInt64
  let slot: Int
  /// 0: none came to be.
  let process: ProcessID
  let reason: String
  let at: Int64
}

/// The outcome of the last reload.
struct ReloadOutcome: Equatable {
  let at: Int64
  let generation: UInt64?
  let errors: [String]
  /// What is doubtful or could not be done, without being in the way.
  var warnings: [String] = []
}

public final class Master {
  let options: MasterOptions
  let board: Scoreboard
  let boardFile: SharedFile
  let signals: SignalDescriptor
  let journal: Journal
  let startedAt: Int64

  var supervisor = Supervisor()
  var listeners = ListenerTable()
  var generations: [UInt64: GenerationRecord] = [:]
  var workers: [WorkerID: WorkerProcess] = [:]
  var nextGeneration: UInt64 = 1
  var control: ControlEndpoint?
  /// The number of the PID file's descriptor.
  var pidFile: CInt = -1
  var tls: TLSState
  /// Sockets and segments of an earlier master, until the first generation has them.
  var inheritance: Inheritance
  var store: ServiceStore
  /// What the program before this one has handed over, until the first generation of this one serves.
  var takeover: Takeover?
  var upgrade = UpgradeState()
  var service = ServiceState()
  /// Rows of workers of an earlier master that are not ours to wait for.
  private var strangers: [WorkerRow] = []
  let breakers = BreakerSegment()
  /// Nil while nobody speaks TLS.
  var watch: DirectoryWatch?

  /// Who waits for the reload under way, and who for the one after it.
  var reloadAskers: [ControlConnection] = []
  var queuedAskers: [ControlConnection] = []
  var isReloadQueued = false
  /// Lines of the journal that could not be written and have been counted.
  private var linesLost: UInt64 = 0
  var reloadWarnings: [String] = []
  var stopAskers: [ControlConnection] = []
  var deaths: [Death] = []
  /// The process whose end is being told, for the record of its death.
  var buried: ProcessID = 0
  var lastReload: ReloadOutcome?

  var startFailure: String?
  var startError = Errno.invalidArgument
  var exitCode: CInt?
  /// Tells the launching shell, once, how the start went.
  var onStarted: ((String?) -> Void)?

  /// - Parameters:
  ///   - signals: those of `watchSignals`.
  ///   - takeover: what the program before this one, in this process, has handed over.
  init(options: MasterOptions, journal: Journal, signals: consuming SignalDescriptor, takeover: Takeover? = nil) throws(Errno) {
    var store = takeover?.state.store ?? ServiceStore()
    let inheritance = takeover.map(Inheritance.init) ?? store.restore(ServiceSockets.take())
    self.store = store
    self.inheritance = inheritance
    self.takeover = takeover
    let ticketKey: [UInt8]
    do { ticketKey = try TicketKeys.make() } catch { throw .inputOutput }
    let handed = takeover.flatMap { TicketRing($0.state.ticketKeys, madeAt: $0.state.ticketsMadeAt) }
    tls = TLSState(tickets: handed ?? TicketRing(ticketKey, now: Time.milliseconds))
    self.options = options
    self.journal = journal
    self.signals = signals
    startedAt = takeover?.state.startedAt ?? Time.wallSeconds
    let file: SharedFile
    if let kept = inheritance.board { file = kept } else { file = SharedFile(try Scoreboard.create()) }
    board = try Scoreboard(file.descriptor)
    boardFile = file
    if inheritance.board != nil, takeover == nil {
      strangers = board.retireDead()
      let living = strangers.map(\.row)
      inheritance.endpoints?.dropColumns(but: living)
      for segment in inheritance.concurrency {
        for column in 0..<segment.table.columnCount where !living.contains(column) { segment.table.drop(column: column) }
      }
    }
    if let table = inheritance.breakers, let bell = inheritance.bell {
      try breakers.restore(table, bell: bell, living: takeover == nil ? strangers.map(\.row) : nil)
    }
    if inheritance.board != nil, takeover == nil {
      nextGeneration = board.value(of: .generation) &+ 1
    }
    board.store(.processID, UInt64(Process.id))
    board.store(.startedAt, UInt64(startedAt))
  }

  /// Collects the signals from now on: none ends the process or is lost while the master is being set up.
  static func watchSignals() throws(Errno) -> SignalDescriptor {
    Signal.ignore(Signal.pipe)
    Signal.ignore(Signal.fileSize)
    // Whoever started us may have ignored it, and then nobody would tell us that a worker has ended.
    Signal.restore(Signal.child)
    return try SignalDescriptor([
      Signal.terminate, Signal.interrupt, Signal.quit, Signal.hangUp, Signal.user1, Signal.user2, Signal.child,
    ])
  }

  /// Serves until told to stop.
  /// - Parameter started: called once: with nil when the first generation serves, else with why it never will.
  /// - Returns: the exit code.
  func run(_ plan: Plan, started: @escaping (String?) -> Void) -> CInt {
    onStarted = started
    do {
      let activated = ServiceSockets.match(inheritance.activated, plan)
      for note in inheritance.notes { journal.write(note.level, note.text) }
      for warning in activated.warnings { warn(warning) }
      listeners.offer(activated.sockets + inheritance.sockets)
      // The workers of a gateway that was just killed may still be letting go of the sockets.
      let record = try prepare(plan, settings: options.settings, attempts: 20)
      perform(supervisor.begin(record.number, terms: terms(of: record), now: Time.milliseconds))
    } catch {
      startFailure = error.reason
      startError = error.error ?? .invalidArgument
      exitCode = 1
    }
    for address in listeners.dropOffers() { journal.write(.warn, "the socket at \(address) that was kept from before is not in the configuration: it is closed") }
    inheritance = Inheritance()
    return serve()
  }

  /// Turns until the end.
  func serve() -> CInt {
    while exitCode == nil { turn() }
    return finish()
  }

  // MARK: One turn

  private func turn() {
    var poll = Poll()
    poll.add(signals.descriptor.raw)
    let open = workers.values.filter(\.isOpen)
    for worker in open { poll.add(worker.raw) }
    let connections = control?.connections ?? []
    for connection in connections { poll.add(connection.raw, output: connection.wantsOutput) }
    if let control { poll.add(control.raw) }
    let watched = 1 + open.count + connections.count + (control == nil ? 0 : 1)
    if let raw = watchDescriptor { poll.add(raw) }

    var wait = supervisor.nextDeadline.map { CInt(clamping: max(0, $0 - Time.milliseconds)) } ?? -1
    if let deadline = nextTLSDeadline {
      let delay = CInt(clamping: max(0, deadline - Time.milliseconds))
      wait = wait < 0 ? delay : min(wait, delay)
    }
    if upgrade.isUnderWay { wait = wait < 0 ? 100 : min(wait, 100) }
    let look = CInt(clamping: max(0, nextServiceDeadline - Time.milliseconds))
    wait = wait < 0 ? look : min(wait, look)
    poll.wait(milliseconds: wait)

    for (position, worker) in open.enumerated() where poll.isReadable(1 + position) { hear(worker) }
    if poll.isReadable(0) { takeSignals() }
    for (position, connection) in connections.enumerated() {
      let place = 1 + open.count + position
      if poll.isReadable(place) || poll.isWritable(place) { hear(connection, readable: poll.isReadable(place)) }
    }
    if let control, poll.isReadable(1 + open.count + connections.count) { control.accept() }
    if watchDescriptor != nil, poll.isReadable(watched), watch?.hasChanged() == true { changeNoticed() }
    perform(supervisor.tick(now: Time.milliseconds))
    tendTLS()
    tendUpgrade()
    if isReloadQueued, !supervisor.isChanging, !upgrade.isUnderWay { beginQueuedReload() }
    control?.sweep()
    rotateLogs()
    if journal.lost > linesLost {
      board.addLinesDropped(journal.lost - linesLost)
      linesLost = journal.lost
    }
    tendService()
    strangers.removeAll { row in
      guard !Process.exists(row.processID) else { return false }
      dropColumns(row.row)
      releaseBreakers(row: row.row)
      board.retire(row.row)
      return true
    }
  }

  /// Everything a worker has said.
  private func hear(_ worker: WorkerProcess) {
    for report in worker.reports() {
      switch report {
      case .ready: perform(supervisor.ready(worker.id, now: Time.milliseconds))
      case .failed(let reason): perform(supervisor.failed(worker.id, reason: reason, now: Time.milliseconds))
      case .ceased: perform(supervisor.ceased(worker.id, now: Time.milliseconds))
      case .drained: perform(supervisor.drained(worker.id, now: Time.milliseconds))
      }
    }
    // It closed the channel: it is on its way out, or past help.
    if !worker.isOpen { perform(supervisor.drained(worker.id, now: Time.milliseconds)) }
  }

  private var watchDescriptor: CInt? {
    switch watch {
    case .some(let watch): watch.raw
    case .none: nil
    }
  }

  // MARK: Signals

  private func takeSignals() {
    while let signal = signals.next() {
      switch signal.number {
      case Signal.child: reap()
      case Signal.terminate, Signal.interrupt: supervisor.isStopping ? stopNow(Signal.name(signal.number)) : stop(Signal.name(signal.number))
      case Signal.quit: stop(Signal.name(signal.number))
      case Signal.hangUp: reload(for: nil)
      case Signal.user1: _ = reopenLogs()
      case Signal.user2: upgrade(to: "", for: nil)
      default: break
      }
    }
  }

  private func reap() {
    while let ended = Process.nextEnded() {
      if ended.id == upgrade.process {
        preflightEnded(ended.end)
        continue
      }
      guard let worker = workers.values.first(where: { $0.process == ended.id }) else { continue }
      // Its last words may still be on the way.
      hear(worker)
      bury(worker, reason: ended.end.text)
    }
  }

  func bury(_ worker: WorkerProcess, reason: String) {
    releaseBreakers(row: worker.row)
    board.retire(worker.row)
    dropColumns(worker.row)
    workers[worker.id] = nil
    buried = worker.process
    perform(supervisor.exited(worker.id, reason: reason, now: Time.milliseconds))
  }

  // MARK: The end

  func stop(_ cause: String) {
    guard !supervisor.isStopping else { return }
    let drain = supervisor.serving.flatMap { generations[$0]?.plan.timeouts.shutdownDrain } ?? 0
    journal.write(.info, "stopping (\(cause)): draining for at most \(drain) ms")
    ServiceNotice.stopping(serviceStatus)
    listeners.leavesFiles = ServiceNotice.isHeard
    perform(supervisor.stop(milliseconds: drain, now: Time.milliseconds))
    // As soon as the workers have closed theirs too, new clients are refused instead of left to wait.
    listeners.retain([], trim: false)
  }

  func stopNow(_ cause: String) {
    journal.write(.info, "stopping at once (\(cause))")
    ServiceNotice.stopping("stopping at once")
    listeners.leavesFiles = ServiceNotice.isHeard
    perform(supervisor.stopNow(now: Time.milliseconds))
    listeners.retain([], trim: false)
  }

  private func finish() -> CInt {
    let code = exitCode ?? 1
    if let startFailure {
      journal.write(.critical, startFailure)
      ServiceNotice.failed(startFailure, startError.number)
    } else {
      journal.write(.info, "stopped")
    }
    listeners.retain([], trim: false)
    control?.remove()
    let answer = ControlAnswer(code == 0 ? .ok : .failed, ["stopped"])
    for asker in reloadAskers + queuedAskers { asker.answer(ControlAnswer(.failed, ["the gateway has stopped"])) }
    for asker in upgrade.askers { asker.answer(ControlAnswer(.failed, ["the gateway has stopped"])) }
    for asker in stopAskers { asker.answer(answer) }
    onStarted?(startFailure ?? "stopped before it was ready")
    onStarted = nil
    return code
  }
}
