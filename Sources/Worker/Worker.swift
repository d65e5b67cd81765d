// Worker — one worker process: a gateway, the channel to the master, signals, and the reactor that drives them.
//
// Invariants: the worker accepts nothing before the master says so; it leaves when it has drained, or when the
// master says so; if the master goes away, it drains and leaves by itself.

import Control
import Gateway
import Kernel
import Memory
import Plan
import SharedState
import Telemetry
import Transport

/// A worker, driven by a reactor.
struct Worker: ~Copyable, ReactorDelegate {
  private enum Watched { static let channel: UInt32 = 1, signals: UInt32 = 2, breakers: UInt32 = 3, names: UInt32 = 4 }

  private var gateway: Gateway
  /// nil in a single process.
  private var channel: WorkerChannel?
  private let signals: SignalDescriptor?
  private let board: Scoreboard
  private let row: Int
  private let drainMilliseconds: Int
  private var isOver = false
  private var hasBeenSignalled = false
  /// It has said that it is ready.
  private var isAnnounced = false
  /// What to serve from then on, in a single process.
  private var servedSlots: [Int] = []
  /// In a single process: news of its certificates, to be asked for once a second.
  private let certificates: (() -> CertificateNews?)?

  init(
    _ gateway: consuming Gateway, channel: consuming WorkerChannel?, signals: consuming SignalDescriptor?, board: Scoreboard, row: Int,
    drainMilliseconds: Int, certificates: (() -> CertificateNews?)?
  ) throws(Errno) {
    // All that can fail, before anything is moved in.
    try gateway.watchBreakers(token: Watched.breakers)
    try gateway.watchNames(token: Watched.names)
    if let watched = channel.take() {
      try watched.withDescriptor { descriptor throws(Errno) in try gateway.watch(foreign: descriptor, token: Watched.channel) }
      self.channel = consume watched
    } else {
      self.channel = nil
    }
    if let watched = signals.take() {
      try gateway.watch(foreign: watched.descriptor, token: Watched.signals)
      self.signals = consume watched
    } else {
      self.signals = nil
    }
    self.gateway = gateway
    self.board = board
    self.row = row
    self.drainMilliseconds = drainMilliseconds
    self.certificates = certificates
  }

  // MARK: Turns

  borrowing func wait(into events: inout EventList, milliseconds: CInt) { gateway.wait(into: &events, milliseconds: milliseconds) }

  mutating func turnBegan(_ clock: borrowing Clock, isNewSecond: Bool) {
    gateway.turnBegan(clock, isNewSecond: isNewSecond)
    if isNewSecond { secondBegan(clock.milliseconds) }
  }

  mutating func handle(_ event: Event) {
    switch gateway.handle(event) {
    case Watched.channel: obey()
    case Watched.signals: heedSignals()
    case Watched.breakers: gateway.breakersChanged()
    case Watched.names: heedNames()
    default: break
    }
  }

  mutating func turnEnded() -> CInt? {
    let delay = gateway.turnEnded()
    if isOver || gateway.isDrained { return leave() }
    // The heartbeat needs a turn a second.
    return delay < 0 ? 1000 : min(delay, 1000)
  }

  private mutating func leave() -> CInt? {
    if !gateway.isDrained {
      // What waits is written before anything else, for there may be little time.
      gateway.flushLogs()
      gateway.cutAll()
    }
    gateway.closeLogs()
    if gateway.isDrained { report(.drained) }
    return nil
  }

  private mutating func secondBegan(_ milliseconds: Int64) {
    board.beat(row: row, milliseconds: milliseconds)
    gateway.log.tick()
    if let news = certificates?() { heed(news) }
    if !isAnnounced { announceIfReady() }
  }

  // MARK: The master

  /// Begins to serve, or to say that it can: at once, if there are no names to be resolved first.
  /// - Parameter slots: what to accept on then, without being told to.
  mutating func begin(serving slots: [Int]) {
    servedSlots = slots
    announceIfReady()
  }

  private mutating func heedNames() {
    gateway.namesAreReady()
    if !isAnnounced { announceIfReady() }
  }

  /// Says that everything is there that is needed to serve. Names that are not resolved are waited for only a while.
  private mutating func announceIfReady() {
    guard !isOver else { return }
    switch gateway.readiness {
    case .waiting: return
    case .ready: break
    case .failed(let reason):
      // A single process has nobody to tell but its log.
      gateway.log.write(.error, "\(reason)")
      report(.failed(reason))
      isOver = true
      return
    }
    isAnnounced = true
    // From here on its silence is noticed.
    board.beat(row: row, milliseconds: Time.milliseconds)
    report(.ready)
    if !servedSlots.isEmpty { adopt(servedSlots) }
  }

  private func report(_ message: WorkerReport) {
    switch channel {
    case .some(let channel): channel.send(message)
    case .none: break
    }
  }

  private mutating func obey() {
    while true {
      switch nextOrder() {
      case .order(let order, var files): obey(order, &files)
      case .none: return
      case .ended:
        // The master is gone: finish what is in flight, and leave no orphan.
        gateway.log.write(.warn, "the master has gone: draining")
        channel = nil
        // A service manager keeps the sockets for the next master, and may end us any moment.
        let isKept = !(Process.environment("NOTIFY_SOCKET") ?? "").isEmpty
        return drain(milliseconds: drainMilliseconds, hurry: true, leavesQueue: isKept)
      }
    }
  }

  private func nextOrder() -> OrderReceived {
    switch channel {
    case .some(let channel): channel.next()
    case .none: .none
    }
  }

  private mutating func obey(_ order: WorkerOrder, _ files: inout DescriptorList) {
    switch order {
    case .start, .listeners: break  // these come before the reactor runs
    case .adopt(let slots): adopt(slots)
    case .release(let slots): gateway.cease(where: { $0.map(slots.contains) ?? false }, acceptingRest: true)
    case .drain(let milliseconds, let hurry): drain(milliseconds: milliseconds, hurry: hurry)
    case .stopNow: isOver = true
    case .reopen(let hasErrorLog, let hasAccessLog):
      if hasErrorLog, let file = files.take(0) { gateway.log.replace(file: file) }
      if hasAccessLog, let file = files.take(hasErrorLog ? 1 : 0) { gateway.reopenAccessLog(file) }
    case .certificates:
      if let file = files.take(0) { useCertificates(file) }
    case .ticketKeys(let keys): gateway.replaceTicketKeys(keys)
    }
  }

  private mutating func useCertificates(_ file: borrowing Descriptor) {
    do throws(StartFailure) {
      guard let problem = gateway.replaceCertificates(try Plan(sealedIn: file)) else { return }
      gateway.log.write(.error, "the new certificates cannot be used: \(problem); the old ones are kept")
    } catch {
      gateway.log.write(.error, "the new certificates cannot be used: \(error.reason); the old ones are kept")
    }
  }

  private mutating func heed(_ news: CertificateNews) {
    for problem in news.problems { gateway.log.write(.error, "\(problem); the certificate in use stays") }
    guard let plan = news.plan else { return }
    if let problem = gateway.replaceCertificates(plan) {
      return gateway.log.write(.error, "the new certificates cannot be used: \(problem); the old ones are kept")
    }
    gateway.log.write(.info, "changed certificates are in use: \(news.changed.joined(separator: ", "))")
  }

  mutating func adopt(_ slots: [Int]) {
    guard !gateway.isDraining else { return }
    do throws(Errno) {
      try gateway.serve(where: { $0.map(slots.contains) ?? true })
      board.set(.ready, row: row)
    } catch {
      gateway.log.write(.error, "cannot watch a listening socket: \(error.text)")
      isOver = true
    }
  }

  private mutating func drain(milliseconds: Int, hurry: Bool, leavesQueue: Bool = false) {
    board.set(.draining, row: row)
    gateway.beginDrain(milliseconds: milliseconds, hurry: hurry, leavesQueue: leavesQueue)
    report(.ceased)
  }

  // MARK: Signals

  private mutating func heedSignals() {
    while let number = nextSignal() {
      switch number {
      case Signal.terminate, Signal.interrupt, Signal.quit:
        // A second one means now. One that comes when the master has already said to drain was meant for all
        // processes alike, as a service manager sends it, and adds nothing.
        if hasBeenSignalled { isOver = true } else if !gateway.isDraining { drain(milliseconds: drainMilliseconds, hurry: true) }
        hasBeenSignalled = true
      default: break
      }
    }
  }

  private func nextSignal() -> CInt? {
    switch signals {
    case .some(let signals): signals.next()?.number
    case .none: nil
    }
  }
}
