// SingleProcess — what one worker needs to serve without a master, for profilers and debuggers.
//
// There is no PID file, no control socket, no reload: the process that asked for it is the worker.

import Control
import Kernel
import Plan
import SharedState
import TLS

/// Why a single process cannot be started.
public struct SingleProcessFailure: Error {
  public let reason: String
}

/// Binds, listens and opens the logs for one worker that serves everything.
public func makeSingleProcess(_ plan: Plan) throws(SingleProcessFailure) -> WorkerStart {
  var plan = plan
  plan.workers = 1
  var table = ListenerTable()
  let logs: LogFiles
  do throws(ListenerFailure) {
    logs = try LogFiles(plan.log, plan.accessLog)
    try table.claim(plan)
    try table.open(plan)
  } catch {
    throw SingleProcessFailure(reason: error.reason)
  }
  Signal.ignore(Signal.pipe)
  Signal.ignore(Signal.fileSize)
  _ = Process.raiseDescriptorLimit()
  do throws(Errno) {
    let board = try Scoreboard(try Scoreboard.create())
    guard let row = board.claim(generation: 1, slot: 0, startedAt: Time.wallSeconds, restarts: 0) else { throw .invalidArgument }
    board.assign(Process.id, row: row)
    board.store(.processID, UInt64(Process.id))
    board.store(.startedAt, UInt64(Time.wallSeconds))
    board.store(.generation, 1)
    board.store(.workers, 1)
    var listeners = ListenerSockets()
    for entry in table.sockets(of: plan) {
      listeners.append(ListenerRecord(listener: entry.listener, slot: entry.slot), try entry.socket.socket.duplicate())
    }
    var record = StartRecord()
    record.generation = 1
    record.row = row
    record.masterProcess = Process.id
    record.listenerCount = listeners.count
    do { record.ticketKeys = try TicketKeys.make() } catch { throw .inputOutput }
    record.hasErrorLog = logs.hasErrorFile
    record.hasAccessLog = logs.hasAccessFile
    let rates = try RateSegment.make(for: plan.rateLimit, previous: [])
    record.rateTableCount = rates.count
    let concurrency = try ConcurrencySegment.make(for: plan, previous: [])
    record.concurrencyTableCount = concurrency.count
    let endpoints = try EndpointSegment.make(for: plan, previous: nil)
    record.hasEndpointTable = endpoints != nil
    let breakers = BreakerSegment()
    do { breakers.adopt(plan, try breakers.claim(for: plan)) } catch { throw .inputOutput }
    breakers.use(row: row)
    record.hasBreakers = breakers.table != nil
    let traffic = try TrafficTable(try TrafficTable.create(for: plan, generation: 1))
    record.hasTraffic = true
    return WorkerStart(
      record: record, plan: plan, scoreboard: board, rateTables: rates.map(\.limiter.memory), concurrencyTables: concurrency.map(\.table), endpoints: endpoints?.table, breakers: breakers.table,
      bell: try breakers.bellDuplicate(), traffic: traffic, listeners: listeners, servedSlots: [0],
      errorLog: try logs.errorDuplicate(), accessLog: try logs.accessDuplicate())
  } catch {
    throw SingleProcessFailure(reason: "cannot set up a single process: \(error.text)")
  }
}
