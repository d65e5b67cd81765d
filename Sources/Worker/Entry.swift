// Entry — how a process becomes a worker: with a master at the other end of a channel, or alone.

import Control
import Gateway
import Kernel
import Plan
import SharedState
import Telemetry
import Transport

/// Why a worker cannot serve.
private struct Failure: Error {
  let reason: String
}

/// Serves as a worker of the master at the other end of `control`, until told to stop. Returns the exit status.
public func runWorker(control: consuming Descriptor) -> CInt {
  var channel = WorkerChannel(control)
  let start: WorkerStart
  do throws(StartFailure) {
    start = try channel.receiveStart()
  } catch {
    channel.send(.failed(error.reason))
    return 1
  }
  do throws(IdentityError) {
    // Everything that needs rights is open by now.
    try start.assumeIdentity()
  } catch {
    channel.send(.failed(error.text))
    return 1
  }
  do throws(Failure) {
    return try run(start, channel, nil)
  } catch {
    return 1
  }
}

/// Serves alone, in the foreground, until a signal ends it. Returns the exit status.
/// - Parameter certificates: news of its certificates; nil: they do not change.
public func runSingle(start: consuming WorkerStart, certificates: (() -> CertificateNews?)?) -> CInt {
  do throws(IdentityError) {
    try start.assumeIdentity()
  } catch {
    Files.complain("gatewayd: " + error.text)
    return 1
  }
  do throws(Failure) {
    return try run(start, nil, certificates)
  } catch {
    Files.complain("gatewayd: " + error.reason)
    return 1
  }
}

/// Builds the gateway and turns its reactor.
private func run(
  _ start: consuming WorkerStart, _ channel: consuming WorkerChannel?, _ certificates: (() -> CertificateNews?)?
) throws(Failure) -> CInt {
  var start = start
  var channel = channel
  let record = start.record, plan = start.plan, board = start.scoreboard
  let isSingle = channel == nil
  let signals = try openSignals(isSingle: isSingle)
  let identity = WorkerIdentity(slot: record.slot, count: record.workerCount, generation: record.generation, row: record.row)
  guard let counters = board.page(record.row) else { throw Failure(reason: "there is no row \(record.row) in the scoreboard") }
  let console = record.hasConsole && !record.hasErrorLog && plan.log.syslog == nil ? try? Descriptor.standard(1) : nil
  let log = EventLog(
    level: plan.log.level, worker: isSingle ? nil : identity.name, console: console, file: start.errorLog.take(), syslog: plan.log.syslog)
  let accessLog = try accessDestination(plan, start.accessLog.take())
  var gateway: Gateway
  do throws(GatewayFailure) {
    gateway = try Gateway(
      plan, worker: identity, board: board, counters: counters, log: log, accessLog: accessLog, ticketKeys: record.ticketKeys, rateTables: start.rateTables, concurrencyTables: start.concurrencyTables,
      endpoints: start.endpoints, names: start.names, breakers: start.breakers, bell: start.bell.take(), row: record.row,
      traffic: start.traffic?.column(record.slot))
  } catch {
    if let channel = channel.take() { channel.send(.failed(error.reason)) }
    throw Failure(reason: error.reason)
  }
  let records = start.listeners.records
  for (position, entry) in records.enumerated() {
    if let socket = start.listeners.take(position) { gateway.add(socket, index: entry.listener, slot: entry.slot) }
  }
  let served = start.servedSlots
  var worker: Worker
  do throws(Errno) {
    worker = try Worker(
      gateway, channel: channel.take(), signals: signals, board: board, row: record.row, drainMilliseconds: plan.timeouts.shutdownDrain,
      certificates: certificates)
  } catch {
    throw Failure(reason: "cannot set up the reactor: \(error.text)")
  }
  worker.begin(serving: served)
  Process.releaseCode()
  var reactor = Reactor()
  reactor.run(&worker)
  return 0
}

/// A worker of a master leaves the signals of a terminal to it, and drains on SIGTERM; alone, it takes all three as the end.
private func openSignals(isSingle: Bool) throws(Failure) -> SignalDescriptor {
  Signal.ignore(Signal.pipe)
  Signal.ignore(Signal.fileSize)
  if !isSingle { for number in [Signal.interrupt, Signal.quit, Signal.hangUp, Signal.user1, Signal.user2] { Signal.ignore(number) } }
  do throws(Errno) {
    return try SignalDescriptor(isSingle ? [Signal.terminate, Signal.interrupt, Signal.quit] : [Signal.terminate])
  } catch {
    throw Failure(reason: "cannot watch signals: \(error.text)")
  }
}

private func accessDestination(_ plan: Plan, _ file: consuming Descriptor?) throws(Failure) -> AccessDestination? {
  guard plan.accessLog.enabled else { return nil }
  if let syslog = plan.accessLog.syslog { return .syslog(syslog) }
  if let file { return .descriptor(file) }
  do throws(Errno) {
    return .descriptor(try Descriptor.standard(1))
  } catch {
    throw Failure(reason: "cannot write the access log to standard output: \(error.text)")
  }
}
