// MasterActions — performing what the Supervisor decides.

import Control
import Kernel
import Plan
import SharedState

extension Master {
  /// Performs the actions in order. Performing one may have consequences of its own, which come first.
  func perform(_ actions: [MasterAction]) {
    for action in actions { perform(action) }
  }

  private func perform(_ action: MasterAction) {
    switch action {
    case .spawn(let id, let generation, let slot, let restarts): spawn(id, generation, slot, restarts)
    case .open(let generation): open(generation)
    case .adopt(let id, let slots): order(id, .adopt(slots))
    case .release(let id, let slots): order(id, .release(slots))
    case .drain(let id, let milliseconds, let hurry):
      // Who cannot even be told will be killed at the deadline.
      workers[id]?.send(.drain(milliseconds: milliseconds, hurry: hurry))
    case .stopNow(let id): workers[id]?.send(.stopNow)
    case .kill(let id):
      if let worker = workers[id] { Process.send(Signal.kill, to: worker.process) }
    case .serving(let generation): takeOver(generation)
    case .settled(let generation): settle(generation)
    case .abandoned(let generation, let reason): abandon(generation, reason)
    case .replacing(let generation, let slot, let reason, let delay): noteDeath(generation, slot, reason, delay)
    case .gone(let generation): forget(generation)
    case .finished: exitCode = exitCode ?? (startFailure == nil ? 0 : 1)
    }
  }

  /// An order that must be obeyed: a worker that does not even take it is replaced.
  private func order(_ id: WorkerID, _ order: WorkerOrder) {
    guard let worker = workers[id], !worker.send(order), worker.isOpen else { return }
    // One that has ended meanwhile, as by a signal to the whole group, is heard of in a moment.
    let hasEnded = Errno.current == .connectionReset
    journal.write(hasEnded && supervisor.isStopping ? .debug : .error, "worker \(worker.slot) of generation \(worker.generation) (PID \(worker.process)) takes no orders: it is killed")
    Process.send(Signal.kill, to: worker.process)
  }

  // MARK: Generations

  /// Claims what the plan needs: listening sockets, log files, its own sealed copy. Nothing running is touched.
  func prepare(_ plan: Plan, settings: (() -> String)?, attempts: Int = 1) throws(ListenerFailure) -> GenerationRecord {
    let logs = try logs(for: plan)
    let planFile: SealedPlan
    do { planFile = try SealedPlan(plan) } catch { throw ListenerFailure(reason: "cannot seal the plan: \(error.text)") }
    let rates: [RateSegment]
    do {
      rates = try RateSegment.make(for: plan.rateLimit, previous: supervisor.serving.flatMap { generations[$0]?.rates } ?? inheritance.rates)
    } catch {
      throw ListenerFailure(reason: "cannot make the tables of rate limits: \(error.text)")
    }
    let concurrency: [ConcurrencySegment]
    do {
      concurrency = try ConcurrencySegment.make(for: plan, previous: supervisor.serving.flatMap { generations[$0]?.concurrency } ?? inheritance.concurrency)
    } catch {
      throw ListenerFailure(reason: "cannot make the tables of concurrency limits: \(error.text)")
    }
    let endpoints: EndpointSegment?
    do {
      endpoints = try EndpointSegment.make(for: plan, previous: supervisor.serving.flatMap { generations[$0]?.endpoints } ?? inheritance.endpoints)
    } catch {
      throw ListenerFailure(reason: "cannot make the table of endpoints: \(error.text)")
    }
    let names: NameSegment?
    do {
      names = try NameSegment.make(for: plan, previous: supervisor.serving.flatMap { generations[$0]?.names } ?? inheritance.names, now: Time.milliseconds)
    } catch {
      throw ListenerFailure(reason: "cannot make the table of names: \(error.text)")
    }
    let traffic: SharedFile
    do {
      traffic = SharedFile(try TrafficTable.create(for: plan, generation: nextGeneration))
    } catch {
      throw ListenerFailure(reason: "cannot make the table of traffic: \(error.text)")
    }
    let breakers = try self.breakers.claim(for: plan)
    do throws(ListenerFailure) {
      try listeners.claim(plan, attempts: attempts)
    } catch {
      closeUnused()
      freeBreakers()
      throw error
    }
    let record = GenerationRecord(
      number: nextGeneration, plan: plan, planFile: planFile, listeners: Set(ListenerTable.keys(of: plan)), logs: logs, rates: rates, concurrency: concurrency, endpoints: endpoints,
      breakers: breakers, names: names, traffic: traffic, startedAt: Time.wallSeconds, settings: settings)
    generations[record.number] = record
    nextGeneration += 1
    checkDescriptors(plan)
    if !Process.isRoot, !plan.identity.user.isEmpty || !plan.identity.group.isEmpty {
      warn("user and group are without effect: the gateway was not started as root")
    }
    return record
  }

  private func logs(for plan: Plan) throws(ListenerFailure) -> LogFiles {
    let current = journal.files
    return current.log == plan.log && current.access == plan.accessLog ? current : try LogFiles(plan.log, plan.accessLog)
  }

  /// A worker may have to hold every client connection and as many to backends.
  private func checkDescriptors(_ plan: Plan) {
    let allowed = Process.raiseDescriptorLimit()
    let pools = plan.upstreams.reduce(0) { $0 + $1.pool.maxConnections }
    let wanted = plan.limits.maxConnections + pools + 64 + plan.workers * plan.listeners.count
    if allowed < wanted {
      warn("a process may open \(allowed) descriptors, \(wanted) may be needed: raise the limit (LimitNOFILE=, ulimit -n)")
    }
  }

  func terms(of record: GenerationRecord) -> GenerationTerms {
    let plan = record.plan
    return GenerationTerms(
      workers: plan.workers, slots: listeners.slotCount(of: ListenerTable.keys(of: plan), workers: plan.workers),
      startTimeout: plan.timeouts.workerStart + (plan.dns.required && !plan.names.isEmpty ? plan.dns.overallTimeout : 0), drain: plan.timeouts.shutdownDrain, maxDraining: plan.maxDrainingGenerations)
  }

  private func open(_ generation: UInt64) {
    guard let record = generations[generation] else { return }
    do throws(ListenerFailure) {
      try listeners.open(record.plan)
      perform(supervisor.opened(generation, now: Time.milliseconds))
    } catch {
      perform(supervisor.openFailed(generation, reason: error.reason, now: Time.milliseconds))
    }
  }

  private func takeOver(_ generation: UInt64) {
    guard let record = generations[generation] else { return }
    journal.use(record.logs)
    breakers.adopt(record.plan, record.breakers)
    watchCertificates()
    board.store(.generation, generation)
    board.store(.workers, UInt64(record.plan.workers))
    let addresses = ListenerTable.keys(of: record.plan).compactMap { listeners.slots(of: $0)?.text }
    journal.write(.info, "generation \(generation) serves with \(record.plan.workers == 1 ? "1 worker" : "\(record.plan.workers) workers") on \(addresses.joined(separator: ", "))")
    if let onStarted {
      self.onStarted = nil
      onStarted(nil)
      service.status = serviceStatus
      ServiceNotice.ready(service.status)
    }
    keepWithServiceManager()
  }

  /// Those who asked for the reload may hear that it is done: nobody old accepts any more.
  private func settle(_ generation: UInt64) {
    reloaded(generation, errors: [])
    closeUnused()
  }

  private func abandon(_ generation: UInt64, _ reason: String) {
    guard onStarted == nil || supervisor.isStopping else {
      // Without a first generation there is nothing to be master of; the processes are waited for.
      startFailure = "cannot start: \(reason)"
      perform(supervisor.stopNow(now: Time.milliseconds))
      return
    }
    if onStarted == nil { reloaded(nil, errors: [reason]) }
  }

  private func forget(_ generation: UInt64) {
    guard generations.removeValue(forKey: generation) != nil else { return }
    if supervisor.serving != nil { journal.write(.info, "generation \(generation) has ended") }
    closeUnused()
    freeBreakers()
  }

  /// Closes the sockets of addresses that no generation accepts on any more.
  func closeUnused() {
    let users = generations.values.filter { !supervisor.hasLetGo($0.number) }
    let used = users.reduce(into: Set<ListenerKey>()) { $0.formUnion($1.listeners) }
    listeners.retain(used, trim: !supervisor.isStarting)
    keepWithServiceManager()
  }

  // MARK: Workers

  private func spawn(_ id: WorkerID, _ generation: UInt64, _ slot: Int, _ restarts: Int) {
    buried = 0
    // A sibling that could not be spawned may have ended the generation a moment ago.
    guard let record = generations[generation], supervisor.phase(of: id) == .starting else {
      return perform(supervisor.spawnFailed(id, reason: "not needed any more", now: Time.milliseconds))
    }
    let now = Time.wallSeconds
    guard let row = board.claim(generation: generation, slot: slot, startedAt: now, restarts: restarts) else {
      perform(supervisor.spawnFailed(id, reason: "all \(Scoreboard.capacity) rows of the scoreboard are in use", now: Time.milliseconds))
      return
    }
    var start = StartRecord()
    start.generation = generation
    start.slot = slot
    start.workerCount = record.plan.workers
    start.row = row
    start.masterProcess = Process.id
    start.hasErrorLog = record.logs.hasErrorFile
    start.hasAccessLog = record.logs.hasAccessFile
    start.hasConsole = journal.hasConsole
    start.ticketKeys = tls.tickets.bytes
    start.rateTableCount = record.rates.count
    start.concurrencyTableCount = record.concurrency.count
    start.hasEndpointTable = record.endpoints != nil
    start.hasNameTable = record.names != nil
    start.hasBreakers = record.breakers.contains { $0 != nil }
    if start.hasBreakers { breakers.use(row: row) }
    start.hasTraffic = record.traffic != nil
    do {
      let lent = try record.logs.lend()
      let files = [record.planFile.file.raw, boardFile.descriptor.raw] + (0..<lent.count).compactMap { lent.raw(at: $0) }
        + record.rates.map { $0.file.descriptor.raw } + record.concurrency.map { $0.file.descriptor.raw } + [record.endpoints?.file.descriptor.raw, record.names?.file.descriptor.raw].compactMap { $0 } + (start.hasBreakers ? breakers.raws : [])
        + (record.traffic.map { [$0.descriptor.raw] } ?? [])
      let worker = try WorkerProcess.spawn(id, record: start, startedAt: now, files: files, sockets: listeners.sockets(of: record.plan))
      board.assign(worker.process, row: row)
      workers[id] = worker
    } catch {
      board.retire(row)
      perform(supervisor.spawnFailed(id, reason: "cannot spawn: \(error.text)", now: Time.milliseconds))
    }
  }

  private func noteDeath(_ generation: UInt64, _ slot: Int, _ reason: String, _ delay: Int64) {
    deaths.append(Death(generation: generation, slot: slot, process: buried, reason: reason, at: Time.wallSeconds))
    if deaths.count > 64 { deaths.removeFirst() }
    board.store(.restarts, board.value(of: .restarts) &+ 1)
    let wait = delay == 0 ? "at once" : "in \(delay) ms"
    let event = buried == 0 ? "could not be started" : "(PID \(buried)) died"
    journal.write(.error, "worker \(slot) of generation \(generation) \(event): \(reason); it is replaced \(wait)")
  }

  // MARK: Logs

  /// Opens the log files anew, so that files that were moved away are let go, and hands them to all workers.
  /// Returns what went wrong; the files in question are kept.
  func reopenLogs() -> [String] {
    var problems: [String] = []
    for files in allLogs {
      problems += files.reopen().map { "\($0); the old file is kept" }
      hand(out: files)
    }
    for problem in problems { journal.write(.error, problem) }
    if problems.isEmpty, hasLogFiles { journal.write(.info, "log files reopened") }
    return problems
  }

  var hasLogFiles: Bool { allLogs.contains { $0.hasFiles } }

  /// Begins new log files where that is due, and hands them to all workers.
  func rotateLogs() {
    for files in allLogs {
      let (turned, problems) = files.rotate()
      if turned { hand(out: files) }
      for problem in problems { journal.write(.error, "\(problem); the old file is kept") }
    }
  }

  private var allLogs: [LogFiles] {
    generations.values.reduce(into: [journal.files]) { list, record in
      if !list.contains(where: { $0 === record.logs }) { list.append(record.logs) }
    }
  }

  private func hand(out files: LogFiles) {
    if journal.files === files { journal.use(files) }
    for worker in workers.values where generations[worker.generation]?.logs === files {
      guard let lent = try? files.lend() else { continue }
      worker.send(.reopen(errorLog: files.hasErrorFile, accessLog: files.hasAccessFile), descriptors: (0..<lent.count).compactMap { lent.raw(at: $0) })
    }
  }
}
