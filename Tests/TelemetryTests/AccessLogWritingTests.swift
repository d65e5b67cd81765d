// AccessLogWritingTests — collecting, writing and losing lines.

import Glibc
import Kernel
import Testing

@testable import Telemetry

@Suite struct AccessLogWritingTests {
  private func log(_ descriptor: consuming Descriptor, bufferSize: Int = 4096) throws -> AccessLog {
    AccessLog(format: try AccessLogFormat("$request_id"), descriptor: descriptor, bufferSize: bufferSize)
  }

  private func append(_ id: Int, to log: inout AccessLog) {
    let request = SampleRequest(target: [0x2f])
    log.append(sampleEntry, head: request.head, bytes: request.bytes.span, client: "c".utf8Span.span, requestID: "\(id)".utf8Span.span)
  }

  @Test func linesAreCollectedAndWrittenWhenFull() throws {
    let scratch = Scratch()
    var log = try log(try scratch.open("a"))
    append(0, to: &log)
    let isCollected = !log.isEmpty
    #expect(isCollected && scratch.read("a").isEmpty)
    for id in 1..<3000 { append(id, to: &log) }
    #expect(!scratch.read("a").isEmpty)
    log.flush()
    let isWritten = log.isEmpty, dropped = log.dropped
    #expect(isWritten && dropped == 0)
    #expect(scratch.lines("a") == (0..<3000).map(String.init))
  }

  @Test func replaceLosesNothing() throws {
    let scratch = Scratch()
    var log = try log(try scratch.open("a"))
    append(1, to: &log)
    log.replace(descriptor: try scratch.open("b"))
    append(2, to: &log)
    log.flush()
    #expect(scratch.lines("a") == ["1"] && scratch.lines("b") == ["2"])
  }

  @Test func aFullDiskKeepsLinesDropsAndCounts() throws {
    var log = try log(try LogDirectory.open("/dev/full"))
    for id in 0..<5000 { append(id, to: &log) }
    let dropped = Int(log.dropped), isKept = !log.isEmpty
    #expect(dropped > 0 && isKept)
    let kept = 5000 - dropped
    let scratch = Scratch()
    log.replace(descriptor: try scratch.open("a"))
    log.flush()
    #expect(scratch.lines("a") == (0..<kept).map(String.init))
  }

  @Test func aSlowPipeIsNotWaitedFor() throws {
    var ends: (CInt, CInt) = (-1, -1)
    unsafe _ = withUnsafeMutableBytes(of: &ends) { unsafe pipe($0.baseAddress!.assumingMemoryBound(to: CInt.self)) }
    let reader = try Descriptor(owning: ends.0)
    var log = try log(try Descriptor(owning: ends.1))
    for id in 0..<60_000 { append(id, to: &log) }
    log.flush()
    let dropped = log.dropped
    #expect(dropped > 0)
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    let count = unsafe read(reader.raw, &chunk, chunk.count)
    text += chunk[..<count]
    #expect(text.last == UInt8(ascii: "\n"))
    #expect(String(decoding: text, as: UTF8.self).hasPrefix("0\n1\n2\n"))
  }

  @Test func aCutLineIsWrittenAgainWhole() {
    var buffer = LineBuffer(capacity: 64)
    func add(_ text: StaticString) {
      var line = buffer.newLine(upTo: 16, reserve: 0)
      line.append(text)
      let count = line.count
      buffer.commit(count)
    }
    func pending() -> String {
      let span = buffer.lines(upTo: .max)
      return String(decoding: span.indices.map { span[$0] }, as: UTF8.self)
    }
    add("first\n")
    add("second\n")
    buffer.wrote(3)
    #expect(pending() == "\nfirst\nsecond\n")
    buffer.wrote(9)
    #expect(pending() == "\nsecond\n")
    buffer.wrote(4)
    #expect(pending() == "\nsecond\n")
    buffer.compact()
    add("third\n")
    #expect(pending() == "\nsecond\nthird\n")
    buffer.wrote(8)
    #expect(pending() == "third\n")
    buffer.wrote(6)
    let isEmpty = buffer.isEmpty
    #expect(isEmpty)
  }
}

@Suite struct AccessLogFormatTests {
  @Test(arguments: [
    ("", 1, "empty"), ("$nope", 1, "unknown variable \"$nope\""), ("ab $status $x", 12, "unknown variable \"$x\""), ("a$", 2, "not followed by a name"),
    ("${status", 1, "not closed"), ("a\nb", 2, "control character"), ("$http_", 1, "unknown"), ("$Status", 1, "not followed"),
  ] as [(String, Int, String)])
  func whatIsRefused(text: String, column: Int, message: String) {
    do throws(AccessLogFormatError) {
      _ = try AccessLogFormat(text)
      Issue.record("accepted")
    } catch {
      #expect(error.column == column && error.message.contains(message))
    }
  }

  @Test func aLongFormatIsRefused() {
    #expect(throws: AccessLogFormatError.self) { try AccessLogFormat(String(repeating: "x", count: 1025)) }
  }

  @Test func namesAreUnique() {
    let names = AccessVariable.table.map { "\($0.name)" }
    #expect(Set(names).count == names.count)
  }

  /// The longest format of numbers alone leaves room for all of them.
  @Test func theWidestFixedLineFits() throws {
    let format = String(repeating: "$duration", count: 1024 / 9)
    let request = SampleRequest(target: [0x2f])
    var entry = sampleEntry
    entry.duration = .max
    entry.startedAt = 0
    #expect(try request.line(format, entry).utf8.count <= AccessProgram.lineLimit)
    entry.startedAt = .max
    #expect(try request.line(String(repeating: "$msec", count: 1024 / 5), entry).utf8.count <= AccessProgram.lineLimit)
    let wide = String(repeating: "$fault", count: 1024 / 6)
    entry.fault = .httpRequestError
    #expect(try request.line(wide, entry).utf8.count <= AccessProgram.lineLimit)
  }
}
