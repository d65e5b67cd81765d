// What the master sends a worker to begin with arrives whole, and what cannot be a start is refused with its reason.

import Kernel
import Plan
import SharedState
import Testing

@testable import Control

/// The two ends of a channel, and what the master's end sends.
private struct Ends: ~Copyable {
  let master: MessageSocket
  var worker: WorkerChannel

  init() throws {
    let pair = try MessageSocket.pair()
    worker = WorkerChannel(try pair.theirs.descriptor.duplicate())
    master = pair.ours
  }

  /// Sends a start with these bytes as its plan, and one listening socket of `listener`.
  borrowing func send(plan bytes: [UInt8], listener: Int = 0) throws {
    var record = StartRecord()
    record.generation = 7
    record.row = 3
    record.listenerCount = 1
    let plan = try MemoryFile.sealed(bytes, name: "plan")
    let board = try Scoreboard.create()
    try master.send(WorkerOrder.start(record).encoded, descriptors: [plan.raw, board.raw])
    try master.send(WorkerOrder.listeners([ListenerRecord(listener: listener, slot: 0)]).encoded, descriptors: [plan.raw])
  }
}

private var plan: Plan {
  var plan = Plan()
  plan.workers = 2
  plan.listeners = [ListenerPlan(address: .ip("::1", port: 8443))]
  plan.upstreams = [UpstreamPlan(name: "app", host: "localhost", port: 3000, addresses: ["127.0.0.1"])]
  plan.routes = [RoutePlan(pattern: "/*rest", methods: .init(rawValue: 1), action: .forward(ForwardPlan(upstream: 0)))]
  return plan
}

@Test func aWorkerBeginsWithThePlanThatWasSealed() throws {
  var ends = try Ends()
  try ends.send(plan: plan.encoded())
  var start = try ends.worker.receiveStart(milliseconds: 1000)
  let (received, record, served, sockets) = (start.plan, start.record, start.servedSlots, start.listeners.records)
  #expect(received == plan)
  #expect(record.generation == 7)
  #expect(record.row == 3)
  #expect(served.isEmpty)
  #expect(sockets == [ListenerRecord(listener: 0, slot: 0)])
  let hasSocket = start.listeners.take(0) != nil
  #expect(hasSocket)
}

/// The reason why `bytes` are not taken as the plan of a start.
private func refusal(of bytes: [UInt8], listener: Int = 0) throws -> String {
  var ends = try Ends()
  try ends.send(plan: bytes, listener: listener)
  do throws(StartFailure) {
    _ = try ends.worker.receiveStart(milliseconds: 1000)
    return ""
  } catch {
    return error.reason
  }
}

@Test func aPlanThatIsNoneIsRefused() throws {
  #expect(try refusal(of: Array("no plan".utf8)).hasPrefix("the plan cannot be understood"))
  #expect(try refusal(of: Array(plan.encoded().dropLast())).hasPrefix("the plan cannot be understood"))
}

@Test func aSocketOfNoListenerIsRefused() throws {
  #expect(try refusal(of: plan.encoded(), listener: 1) == "a listening socket belongs to no listener")
}
