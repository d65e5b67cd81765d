// EventLogTests — event lines, levels, sanitising, throttling.

import Glibc
import Kernel
import Plan
import Synchronization
import Testing

@testable import Telemetry

/// A clock to set by hand.
private final class HandClock: Sendable {
  let micros = Atomic<Int64>(1_769_860_800_123_456)
  func advance(seconds: Int64) { micros.add(seconds * 1_000_000, ordering: .relaxed) }
}

@Suite struct EventLogTests {
  private let scratch = Scratch()
  private let clock = HandClock()

  private func log(_ level: LogPlan.Level = .info, worker: String? = nil) throws -> EventLog {
    let clock = clock
    return EventLog(level: level, worker: worker, console: nil, file: try scratch.open("e.log")) {
      clock.micros.load(ordering: .relaxed)
    }
  }

  private var messages: [String] { scratch.lines("e.log").map { String($0.dropFirst("[2026-01-31 23:59:59.123] ".utf8.count)) } }

  @Test func lineFormat() throws {
    try log().write(.warn, "hello")
    try log(worker: "0.7").write(.info, "there")
    let lines = scratch.lines("e.log")
    #expect(lines[0].contains(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.123\] \[gateway\] \[warning\] hello$/))
    #expect(messages[1] == "[gateway] [info] [worker 0.7] there")
  }

  @Test func levels() throws {
    let log = try log(.warn)
    for level in LogPlan.Level.allCases { log.write(level, "x") }
    log.mark("SERVER START")
    #expect(messages == ["[gateway] [warning] x", "[gateway] [error] x", "[gateway] [critical] x", "[gateway] [info] ========== SERVER START =========="])
    log.level = .trace
    log.write(.trace, "y")
    #expect(messages.last == "[gateway] [trace] y")
  }

  @Test func controlCharactersAreReplaced() throws {
    try log().write(.info, "a\nb\u{1b}[31mc\u{7f}\u{9b}\u{e9}")
    #expect(messages == ["[gateway] [info] a?b?[31mc??\u{e9}"])
  }

  @Test func aLineIsBounded() throws {
    try log().write(.info, String(repeating: "\u{e9}", count: 9000))
    let text = scratch.read("e.log")
    #expect(text.utf8.count <= EventLine.limit && text.hasSuffix("...\n"))
  }

  @Test func floodsAreThrottledByKey() throws {
    let log = try log()
    let key = EventKey("refused", 1)
    for index in 0..<100 { log.write(.error, key: key, "refused \(index)") }
    log.write(.error, key: EventKey("refused", 2), "other")
    #expect(messages.count == 11)
    clock.advance(seconds: 1)
    log.write(.error, key: key, "again")
    log.write(.error, key: key, "again")
    #expect(messages.last == "[gateway] [error] again (90 more of this kind were left out)")
    clock.advance(seconds: 3)
    log.tick()
    #expect(messages.last == "[gateway] [info] 1 more events of the kind \"refused\" were left out")
    clock.advance(seconds: 60)
    log.tick()
    #expect(messages.count == 13)
  }

  @Test func keysAreBounded() throws {
    var throttle = EventThrottle()
    for subject in 0..<100_000 { #expect(throttle.admit(EventKey("k", subject), at: 0) == 0) }
  }

  @Test func whatCannotBeWrittenIsCounted() throws {
    let log = EventLog(level: .info, file: try LogDirectory.open("/dev/full"))
    log.write(.info, "x")
    log.write(.info, "y")
    #expect(log.lost == 2)
    log.replace(file: try scratch.open("e.log"))
    log.write(.info, "z")
    #expect(log.lost == 2 && messages == ["[gateway] [info] z", "[gateway] [warning] 2 lines of this log could not be written a moment ago"])
    log.write(.info, "and on")
    #expect(messages.count == 3)
  }
}
