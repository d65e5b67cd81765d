// Orders and reports survive the way there and back, and nothing else is understood.

import Testing

@testable import Control

private var start: StartRecord {
  var record = StartRecord()
  record.generation = 7
  record.slot = 2
  record.workerCount = 3
  record.row = 1023
  record.masterProcess = 4711
  record.listenerCount = 12
  record.hasErrorLog = true
  record.hasAccessLog = true
  record.hasConsole = false
  record.ticketKeys = [1, 2, 3]
  return record
}

private let orders: [WorkerOrder] = [
  .start(start), .listeners([ListenerRecord(listener: 0, slot: 3), ListenerRecord(listener: 1)]), .listeners([]), .adopt([0, 3, 6]), .release([]),
  .drain(milliseconds: 30_000, hurry: false), .drain(milliseconds: 0, hurry: true), .stopNow, .reopen(errorLog: true, accessLog: false), .certificates,
  .ticketKeys([UInt8](repeating: 7, count: 240)), .ticketKeys([]),
]

private let reports: [WorkerReport] = [.ready, .failed("port 80: \u{1F6D1} no"), .failed(""), .ceased, .drained]

@Test func everyOrderComesBack() {
  for order in orders { #expect(WorkerOrder(decoding: order.encoded) == order) }
}

@Test func everyReportComesBack() {
  for report in reports { #expect(WorkerReport(decoding: report.encoded) == report) }
}

@Test func cutOffOrExtendedRecordsAreRefused() {
  for bytes in orders.map(\.encoded) {
    for count in 0..<bytes.count { #expect(WorkerOrder(decoding: Array(bytes.prefix(count))) == nil) }
    #expect(WorkerOrder(decoding: bytes + [0]) == nil)
  }
  for bytes in reports.map(\.encoded) {
    for count in 0..<bytes.count { #expect(WorkerReport(decoding: Array(bytes.prefix(count))) == nil) }
    #expect(WorkerReport(decoding: bytes + [0]) == nil)
  }
}

@Test func damagedRecordsNeverTrap() {
  for bytes in orders.map(\.encoded) {
    for index in bytes.indices {
      for value: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
        var damaged = bytes
        damaged[index] = value
        _ = WorkerOrder(decoding: damaged)
        _ = WorkerReport(decoding: damaged)
      }
    }
  }
}

@Test func numbersThatCannotBeAreRefused() {
  var record = start
  record.slot = 3
  #expect(WorkerOrder(decoding: WorkerOrder.start(record).encoded) == nil)
  record.slot = -1
  #expect(WorkerOrder(decoding: WorkerOrder.start(record).encoded) == nil)
  #expect(WorkerOrder(decoding: WorkerOrder.adopt([-1]).encoded) == nil)
  #expect(WorkerOrder(decoding: WorkerOrder.drain(milliseconds: -1, hurry: false).encoded) == nil)
}

@Test func aCountThatTheBytesCannotHoldCostsNothing() {
  #expect(WorkerOrder(decoding: [3, 0xff, 0xff, 0xff, 0xff]) == nil)
  #expect(WorkerReport(decoding: [2, 0xff, 0xff, 0xff, 0x7f, 0x41]) == nil)
}
