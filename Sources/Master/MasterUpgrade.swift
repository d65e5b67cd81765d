// MasterUpgrade — another program takes this one's place: tried out first, then by exec in the same process, then a reload.
//
// Nothing that serves is touched until the new program's own generation is ready. Whatever fails before that, this program goes on, and whoever
// asked hears why: a pre-flight that fails ends the attempt; an exec that fails returns; and a new program whose generation does not come to serve hands
// everything back, by an exec of the very file this program was started from.

import Control
import Kernel
import Plan
import SharedState

/// An upgrade that has been asked for.
struct UpgradeState {
  /// The program that is to take over, while it waits for a change of generations to end; empty: none waits.
  var pending = ""
  var askers: [ControlConnection] = []
  /// The pre-flight check; 0: none runs.
  var process: ProcessID = 0
  var path = ""
  fileprivate(set) var words: SharedFile?
  /// Seconds that the check may take.
  fileprivate var seconds = UpgradeLimits.checkSeconds
  fileprivate var deadline: Int64 = 0
  /// It has taken longer, and is being killed.
  fileprivate var isOverdue = false

  var isUnderWay: Bool { process != 0 || !pending.isEmpty }
}

extension Master {
  /// Has the program at `path` (empty: the file this one was started from) take over.
  /// - Parameter seconds: that its check may take.
  func upgrade(to path: String, seconds: Int = UpgradeLimits.checkSeconds, for asker: ControlConnection?) {
    let path = path.isEmpty ? options.binary : path
    guard !supervisor.isStopping, takeover == nil, !upgrade.isUnderWay, path.hasPrefix("/") else {
      let reason = supervisor.isStopping ? "the gateway is stopping" : path.hasPrefix("/") ? "an upgrade is under way" : "the path of the new program must be absolute"
      journal.write(.warn, "upgrade refused: \(reason)")
      asker?.answer(ControlAnswer(.failed, [reason]))
      return
    }
    upgrade.pending = path
    upgrade.seconds = seconds
    if let asker { upgrade.askers.append(asker) }
    if supervisor.isChanging { asker?.note("a reload is under way: the upgrade begins when that has ended") }
    tendUpgrade()
  }

  /// Does what is due: begins when no generation changes, ends a pre-flight that takes too long.
  func tendUpgrade() {
    if !upgrade.pending.isEmpty, supervisor.isStopping {
      upgradeFailed(["the gateway is stopping"])
    } else if !upgrade.pending.isEmpty, upgrade.process == 0, !supervisor.isChanging {
      beginPreflight()
    } else if upgrade.process != 0, upgrade.deadline <= Time.milliseconds {
      upgrade.isOverdue = true
      Process.send(Signal.kill, toGroup: upgrade.process)
    }
  }

  // MARK: Pre-flight

  private func beginPreflight() {
    upgrade.path = upgrade.pending
    journal.write(.info, "upgrade: checking \(upgrade.path)")
    ServiceNotice.reloading("upgrading")
    do throws(Errno) {
      let state = try MemoryFile.sealed(handover.encoded, name: "gateway handover")
      var pipe = try WordPipe()
      guard let theirs = pipe.theirs.take() else { throw Errno.invalidArgument }
      upgrade.process = try Execution.spawn(upgrade.path, ["gatewayd"] + options.arguments + ["--preflight"], control: state, output: theirs)
      upgrade.words = SharedFile(try pipe.ours.duplicate())
      upgrade.deadline = Time.milliseconds + Int64(upgrade.seconds) * 1000
    } catch {
      upgradeFailed(["cannot run \(upgrade.path): \(error.text)"])
    }
  }

  /// The pre-flight check has ended.
  func preflightEnded(_ end: ChildEnd) {
    var bytes: [UInt8] = []
    if let words = upgrade.words { while bytes.count < 1 << 20, let part = Files.read(words.descriptor.raw, limit: 65_536), !part.isEmpty { bytes += part } }
    upgrade.process = 0
    upgrade.words = nil
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    guard end == .exited(0), let last = lines.last, last.hasPrefix(PreflightCheck.success) else {
      let what =
        upgrade.isOverdue ? "the check of \(upgrade.path) had not ended after \(upgrade.seconds) s, and was killed"
        : end == .exited(0) ? "\(upgrade.path) is no \(Product.daemon) that can take over" : "the check of \(upgrade.path) failed (\(end.text))"
      return upgradeFailed(lines + [what])
    }
    for line in lines.dropLast() { journal.write(.warn, line) }
    guard !supervisor.isStopping, !supervisor.isChanging else { return upgradeFailed(["the gateway is stopping, or changes its generation"]) }
    handOver()
  }

  /// Tells everyone that this program goes on.
  func upgradeFailed(_ reasons: [String]) {
    if upgrade.process != 0 { Process.send(Signal.kill, toGroup: upgrade.process) }
    let askers = upgrade.askers
    upgrade = UpgradeState()
    let last = "upgrade failed; version \(options.version) goes on"
    for line in reasons { journal.write(.error, line) }
    journal.write(.error, last)
    for asker in askers { asker.answer(ControlAnswer(.failed, reasons + [last])) }
    service.status = serviceStatus
    if !supervisor.isStopping { ServiceNotice.ready(service.status) }
  }

  // MARK: Handing over

  /// Everything as it is, for the program that goes on.
  var handover: Handover {
    var state = Handover()
    let serving = supervisor.serving.flatMap { generations[$0] }
    state.program = options.version
    state.language = WorkerLanguage.version
    state.binary = options.binary
    state.arguments = options.arguments
    state.inventory = Inventory(
      listeners.inventory.map { SocketEntry($0, file: $0.socket.socket.raw) }, segments(of: serving).map { SegmentEntry($0, file: $0.file.descriptor.raw) },
      meaningOf: serving?.plan)
    state.pidFile = pidFile
    if let control {
      state.controlPath = control.path
      state.controlFile = control.raw
      let waiting = upgrade.askers + reloadAskers + queuedAskers
      state.connections = control.connections.filter { !$0.isDone }.map { connection in
        Handover.Connection(
          file: connection.raw, isAsked: connection.isAsked, waits: waiting.contains { $0 === connection }, isReload: queuedAskers.contains { $0 === connection })
      }
    }
    state.isReloadQueued = isReloadQueued
    state.startedAt = startedAt
    state.nextGeneration = nextGeneration
    state.generations = generations.values.sorted { $0.number < $1.number }.map {
      Handover.Generation(number: $0.number, startedAt: $0.startedAt, planFile: $0.planFile.file.raw, listeners: Array($0.listeners))
    }
    state.workers = workers.values.map {
      Handover.Worker(
        id: $0.id.number, generation: $0.generation, slot: $0.slot, row: $0.row, startedAt: $0.startedAt, process: $0.process, channel: $0.isOpen ? $0.raw : -1)
    }
    state.supervisor = supervisor.encoded
    state.ticketKeys = tls.tickets.keys
    state.ticketsMadeAt = tls.tickets.madeAt
    state.deaths = deaths
    state.store = store
    return state
  }

  /// Becomes the other program. Returns when that fails.
  private func handOver() {
    let failure: Errno
    do throws(Errno) {
      let own = try Execution.open()
      var state = handover
      state.binaryFile = own.raw
      let file = try MemoryFile.sealed(state.encoded, name: "gateway handover")
      journal.write(.info, "upgrade: handing over to \(upgrade.path)")
      failure = Execution.become(upgrade.path, ["gatewayd"] + options.arguments + ["--resume", "\(file.raw)"], keeping: state.files + [file.raw])
    } catch {
      failure = error
    }
    upgradeFailed(["cannot become \(upgrade.path): \(failure.text)"])
  }

  // MARK: Taking over

  /// Takes over what another program has handed over.
  /// - Parameter plan: for generations whose own cannot be understood.
  func restore(_ takeover: Takeover, _ plan: Plan) throws(ListenerFailure) {
    let state = takeover.state
    guard let found = Supervisor(decoding: state.supervisor) else { throw ListenerFailure(reason: "the state of version \(state.program) cannot be understood") }
    supervisor = found
    nextGeneration = max(state.nextGeneration, 1)
    deaths = state.deaths
    for note in inheritance.notes { journal.write(note.level, note.text) }
    listeners.restore(inheritance.sockets)
    for entry in state.generations {
      let known = takeover.plan(of: entry)
      let plan = known ?? plan
      let entries = try breakers.claim(for: plan)
      do throws(Errno) {
        let isServing = supervisor.serving == entry.number
        let endpoints = isServing ? try EndpointSegment.make(for: plan, previous: inheritance.endpoints) : nil
        let names = isServing ? try NameSegment.make(for: plan, previous: inheritance.names, now: Time.milliseconds) : nil
        let rates = isServing ? try RateSegment.make(for: plan.rateLimit, previous: inheritance.rates) : []
        let concurrency = isServing ? try ConcurrencySegment.make(for: plan, previous: inheritance.concurrency) : []
        generations[entry.number] = GenerationRecord(
          number: entry.number, plan: plan, planFile: try SealedPlan(plan), listeners: Set(entry.listeners), logs: journal.files, rates: rates,
          concurrency: concurrency, endpoints: endpoints, breakers: entries, names: names, startedAt: entry.startedAt)
      } catch {
        throw ListenerFailure(reason: "cannot take generation \(entry.number) over: \(error.text)")
      }
    }
    for entry in state.workers {
      guard let channel = Descriptor.duplicate(of: entry.channel) ?? (try? Descriptor.spare()) else { continue }
      var entry = entry
      // Another scoreboard has no row for it.
      if inheritance.board == nil { entry.row = -1 }
      workers[WorkerID(number: entry.id)] = WorkerProcess(adopting: entry, channel: channel)
    }
    adoptControl(state)
    inheritance = Inheritance()
    // Those that have ended while the other program was here, and were its to wait for.
    for worker in Array(workers.values) where !Process.isChild(worker.process) { bury(worker, reason: "ended during an upgrade") }
    guard let refusal = takeover.refusal else { return journal.write(.info, "version \(options.version) has taken over from version \(state.program)") }
    takeover.keep()
    self.takeover = nil
    isReloadQueued = state.isReloadQueued || takeover.isReloadWanted || !queuedAskers.isEmpty
    upgradeFailed(refusal.split(separator: "\n").map(String.init))
  }

  private func adoptControl(_ state: Handover) {
    guard let socket = Descriptor.duplicate(of: state.controlFile) else { return }
    var connections: [ControlConnection] = []
    for entry in state.connections {
      guard let own = Descriptor.duplicate(of: entry.file) else { continue }
      let connection = ControlConnection(adopting: own, isAsked: entry.isAsked)
      connections.append(connection)
      guard entry.waits else { continue }
      // The reload of the upgrade is theirs as well; where that has come to nothing, they get one of their own.
      if entry.isReload, takeover?.refusal != nil { queuedAskers.append(connection) } else { upgrade.askers.append(connection) }
    }
    control = ControlEndpoint(adopting: socket, path: state.controlPath, connections)
  }

  /// The first generation of this program serves, or never will.
  func conclude(_ takeover: Takeover, _ generation: UInt64?, _ errors: [String]) {
    guard let generation else { return handBack(takeover, errors) }
    takeover.keep()
    self.takeover = nil
    let askers = upgrade.askers
    upgrade = UpgradeState()
    let text = "upgraded from version \(takeover.state.program) to \(options.version): generation \(generation) serves"
    journal.write(.info, text)
    for asker in askers { asker.answer(ControlAnswer(.ok, reloadWarnings + [text])) }
    keepWithServiceManager()
  }

  /// Gives everything back to the program that was here before.
  private func handBack(_ takeover: Takeover, _ errors: [String]) {
    journal.write(.error, "version \(options.version) hands back to version \(takeover.state.program): \(errors.first ?? "")")
    // What this program has started has accepted nothing, and is not known there.
    let known = Set(takeover.state.workers.map(\.process))
    for worker in workers.values where !known.contains(worker.process) {
      Process.end(worker.process)
      dropColumns(worker.row)
      releaseBreakers(row: worker.row)
      board.retire(worker.row)
    }
    let failure = takeover.handBack(errors, isReloadWanted: isReloadQueued)
    journal.write(.critical, "cannot hand back: \(failure); version \(options.version) goes on with the old workers")
    takeover.keep()
    self.takeover = nil
    for asker in upgrade.askers { asker.answer(ControlAnswer(.failed, errors + ["the way back failed: \(failure)"])) }
    upgrade = UpgradeState()
  }
}
