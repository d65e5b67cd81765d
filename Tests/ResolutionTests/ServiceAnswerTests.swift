// SRV records: which of them are used, and how long an answer is good, whatever bytes a server sends.

import Testing

@testable import Resolution

@Suite struct ServiceAnswerTests {
  @Test func theFirstPrioritiesAreUsed() {
    let records = [
      ServiceRecord(priority: 2, weight: 1, port: 80, target: "b"), ServiceRecord(priority: 1, weight: 1, port: 80, target: "a"),
      ServiceRecord(priority: 0, weight: 1, port: 0, target: "no-port"), ServiceRecord(priority: 0, weight: 1, port: 80, target: ""),
    ]
    #expect(ServiceRecord.usable(records).map(\.target) == ["a", "b"])
    #expect(ServiceRecord.usable([ServiceRecord(priority: 0, weight: 0, port: 0, target: ".")]).isEmpty)
    let many = (0..<500).map { ServiceRecord(priority: UInt16($0), weight: 1, port: 80, target: "t\($0)") }
    #expect(ServiceRecord.usable(many.shuffled()).map(\.target) == (0..<ServiceRecord.limit).map { "t\($0)" })
  }

  /// An answer to a question for x, with these records (type, seconds, data).
  private func answer(_ records: [(UInt16, UInt32, [UInt8])], name: [UInt8] = [0xc0, 12]) -> [UInt8] {
    var bytes: [UInt8] = [0, 1, 0x81, 0x80, 0, 1, UInt8(records.count >> 8), UInt8(records.count & 0xff), 0, 0, 0, 0, 1, 0x78, 0, 0, 33, 0, 1]
    for (type, seconds, data) in records {
      bytes += name + [UInt8(type >> 8), UInt8(type & 0xff), 0, 1]
      for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: seconds >> shift)) }
      bytes += [UInt8(data.count >> 8), UInt8(data.count & 0xff)] + data
    }
    return bytes
  }

  private let data: [UInt8] = [0, 1, 0, 1, 0, 80, 1, 0x61, 0]

  @Test func theShortestTimeCounts() {
    #expect(AnswerBytes.seconds(ofType: 33, in: answer([(33, 60, data), (33, 30, data)])) == 30)
    #expect(AnswerBytes.seconds(ofType: 33, in: answer([(5, 5, [0]), (33, 30, data), (1, 1, [1, 2, 3, 4])])) == 5)
    #expect(AnswerBytes.seconds(ofType: 33, in: answer([(33, 0x8000_0001, data)])) == 0)
    #expect(AnswerBytes.seconds(ofType: 33, in: answer([(33, 7, data)], name: [1, 0x78, 0])) == 7)
    #expect(AnswerBytes.seconds(ofType: 33, in: answer([(1, 7, [1, 2, 3, 4])])) == nil)
    #expect(AnswerBytes.seconds(ofType: 33, in: answer([])) == nil)
  }

  @Test func anyBytesAreRead() {
    let whole = answer([(5, 5, [0]), (33, 60, data), (33, 30, data)])
    for length in 0..<whole.count { _ = AnswerBytes.seconds(ofType: 33, in: Array(whole.prefix(length))) }
    for _ in 0..<20_000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...6) { bytes[Int.random(in: bytes.indices)] = UInt8.random(in: 0 ... 255) }
      _ = AnswerBytes.seconds(ofType: 33, in: bytes)
    }
  }
}
