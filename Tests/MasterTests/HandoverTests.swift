// What one program hands over to the next: as bytes and back, and the supervisor with it.

import Control
import Testing

@testable import Master

private func supervisorInTheMiddle() -> Supervisor {
  var supervisor = Supervisor()
  var actions = supervisor.begin(1, terms: GenerationTerms(workers: 2, slots: 3), now: 1000)
  for case .spawn(let id, _, _, _) in actions { _ = supervisor.ready(id, now: 1100) }
  _ = supervisor.opened(1, now: 1200)
  actions = supervisor.begin(2, terms: GenerationTerms(workers: 1, slots: 3, drain: 700), now: 1300)
  for case .spawn(let id, _, _, _) in actions { _ = supervisor.ready(id, now: 1400) }
  for case .drain(let id, _, _) in supervisor.opened(2, now: 1500) { _ = supervisor.ceased(id, now: 1500) }
  return supervisor
}

@Test func aSupervisorGoesOnAfterAHandover() throws {
  var before = supervisorInTheMiddle()
  #expect(!before.isChanging)
  var after = try #require(Supervisor(decoding: before.encoded))
  #expect(after.serving == 2 && after.drainingCount == 1)
  for generation: UInt64 in [1, 2] { #expect(after.slots(of: generation) == before.slots(of: generation)) }
  #expect(after.nextDeadline == before.nextDeadline)
  // Both decide alike from here on.
  let worker = try #require(after.slots(of: 2).first?.worker)
  #expect(after.exited(worker, reason: "killed", now: 2000) == before.exited(worker, reason: "killed", now: 2000))
  #expect(after.tick(now: 10_000) == before.tick(now: 10_000))
}

@Test func aStateThatMakesNoSenseIsRefused() {
  let bytes = supervisorInTheMiddle().encoded
  for count in bytes.indices { #expect(Supervisor(decoding: Array(bytes[..<count])) == nil) }
}

@Test func aHandoverReadsAsItWasWritten() throws {
  var state = Handover()
  state.program = "1.0.0"
  state.language = 7
  state.binary = "/usr/sbin/gatewayd"
  state.binaryFile = 5
  state.arguments = ["--config", "/etc/gateway/gateway.json"]
  state.pidFile = 6
  state.controlPath = "/run/gateway/control.sock"
  state.controlFile = 7
  state.connections = [Handover.Connection(file: 8, isAsked: true, waits: true)]
  state.generations = [Handover.Generation(number: 3, startedAt: 4, planFile: 9, listeners: [ListenerKey(address: "::", port: 443)])]
  state.workers = [Handover.Worker(id: 1, generation: 3, slot: 0, row: 2, startedAt: 4, process: 77, channel: 10)]
  state.supervisor = [1, 2, 3]
  state.ticketKeys = [[4, 5], [6]]
  state.deaths = [Death(generation: 1, slot: 2, process: 3, reason: "killed by SIGKILL", at: 4)]
  let bytes = state.encoded
  let read = try #require(Handover(decoding: bytes))
  #expect(read.encoded == bytes)
  #expect(read.files == [5, 6, 7, 8, 9, 10])
  #expect(read.deaths == state.deaths && read.arguments == state.arguments)
  for count in bytes.indices { #expect(Handover(decoding: Array(bytes[..<count])) == nil) }
}
