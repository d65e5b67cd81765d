// WorkerProcess — one worker as the master's system calls see it: its process, its channel, its row.
//
// Invariant: the row is retired exactly once, after the process has ended.

import Control
import Kernel
import SharedState

final class WorkerProcess {
  let id: WorkerID
  let generation: UInt64
  let slot: Int
  let row: Int
  let startedAt: Int64
  fileprivate(set) var process: ProcessID = 0
  private let channel: MessageSocket
  /// False once the other end is closed: there is nothing more to read or to say.
  private(set) var isOpen = true

  private init(_ id: WorkerID, generation: UInt64, slot: Int, row: Int, startedAt: Int64, channel: consuming MessageSocket) {
    self.id = id
    self.generation = generation
    self.slot = slot
    self.row = row
    self.startedAt = startedAt
    self.channel = channel
  }

  /// Goes on with a worker of the program before this one.
  init(adopting entry: Handover.Worker, channel: consuming Descriptor) {
    id = WorkerID(number: entry.id)
    generation = entry.generation
    slot = entry.slot
    row = entry.row
    startedAt = entry.startedAt
    process = entry.process
    self.channel = MessageSocket(channel)
  }

  /// Spawns a worker and sends it what it begins with.
  /// - Parameters:
  ///   - files: plan, scoreboard, then the logs that `record` announces.
  static func spawn(
    _ id: WorkerID, record: StartRecord, startedAt: Int64, files: [CInt], sockets: [(listener: Int, slot: Int?, socket: ListeningSocket)]
  ) throws(Errno) -> WorkerProcess {
    let pair = try MessageSocket.pair()
    let title = "gatewayd: worker \(record.slot) of generation \(record.generation)"
    let process = try Process.spawnSelf([title, "--worker"], control: pair.theirs.descriptor)
    let worker = WorkerProcess(id, generation: record.generation, slot: record.slot, row: record.row, startedAt: startedAt, channel: pair.ours)
    worker.process = process
    // From here on there is a process: a failure to reach it shows as its end.
    var record = record
    record.listenerCount = sockets.count
    var sent = worker.send(.start(record), descriptors: files)
    var rest = sockets[...]
    while sent, !rest.isEmpty {
      let batch = rest.prefix(100)
      rest = rest.dropFirst(100)
      sent = worker.send(
        .listeners(batch.map { ListenerRecord(listener: $0.listener, slot: $0.slot) }), descriptors: batch.map { $0.socket.socket.raw })
    }
    if !sent { Process.send(Signal.kill, to: process) }
    return worker
  }

  var raw: CInt { channel.descriptor.raw }

  /// False when the worker has gone, or has stopped reading for so long that its queue is full.
  @discardableResult
  func send(_ order: WorkerOrder, descriptors: [CInt] = []) -> Bool {
    guard isOpen else { return false }
    return (try? channel.send(order.encoded, descriptors: descriptors)) != nil
  }

  /// What the worker has said, all of it; `isOpen` turns false at the end.
  func reports() -> [WorkerReport] {
    var reports: [WorkerReport] = []
    while isOpen {
      switch channel.receive() {
      case .message(let bytes, _):
        guard let report = WorkerReport(decoding: bytes) else {
          isOpen = false
          break
        }
        reports.append(report)
      case .none: return reports
      case .ended: isOpen = false
      }
    }
    return reports
  }
}
