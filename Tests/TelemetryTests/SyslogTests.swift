// SyslogTests — lines and entries as datagrams, against sockets of the test's own.

import Glibc
import HTTPModel
import Kernel
import Plan
import Testing

@testable import Telemetry

/// A daemon: a datagram socket that is read without waiting.
private final class Daemon {
  private(set) var descriptor: CInt
  let path: String

  init(_ path: String) {
    self.path = path
    descriptor = Daemon.bound(path)
  }

  deinit { stop() }

  private static func bound(_ path: String) -> CInt {
    let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: Array(path.utf8)) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = unsafe withUnsafePointer(to: &address) { unsafe bind(descriptor, UnsafeRawPointer($0).assumingMemoryBound(to: sockaddr.self), size) }
    #expect(result == 0)
    return descriptor
  }

  func stop() {
    guard descriptor >= 0 else { return }
    close(descriptor)
    unsafe _ = unlink(path)
    descriptor = -1
  }

  func restart() {
    stop()
    descriptor = Daemon.bound(path)
  }

  func next() -> String? {
    var bytes = [UInt8](repeating: 0, count: 16_384)
    let count = unsafe recv(descriptor, &bytes, bytes.count, CInt(MSG_DONTWAIT))
    return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}

@Suite struct SyslogTests {
  private let scratch = Scratch()
  private static let time: Int64 = 1_769_860_800_123_456

  private func plan(_ path: String) -> SyslogPlan {
    var plan = SyslogPlan()
    plan.server = "unix:" + path
    plan.facility = .local3
    plan.tag = "edge"
    return plan
  }

  @Test func addresses() {
    #expect(SyslogAddress.parse("unix:/dev/log")?.description == "unix:/dev/log")
    #expect(SyslogAddress.parse("udp:192.0.2.1:514")?.description == "192.0.2.1:514")
    #expect(SyslogAddress.parse("udp:[2001:db8::1]:1514")?.description == "[2001:db8::1]:1514")
    for text in ["", "unix:", "unix:log", "udp:", "udp:1.2.3.4", "udp:1.2.3.4:0", "udp:1.2.3.4:65536", "udp:::1:514", "udp:host:514", "/dev/log"] {
      #expect(SyslogAddress.parse(text) == nil, "\(text)")
    }
  }

  @Test func stamps() {
    #expect(Syslog.stamp(Self.time) == "1 2026-01-31T12:00:00.123456Z")
    #expect(Syslog.stamp(0) == "1 1970-01-01T00:00:00.000000Z")
    #expect(Syslog.localStamp(Self.time).contains(/^Jan 31 \d\d:00:00$/) || Syslog.localStamp(Self.time).contains(/^(Jan|Feb) [ 0-9]\d \d\d:\d\d:00$/))
  }

  @Test func eventsGoToADaemon() throws {
    let daemon = Daemon("\(scratch.path)/log")
    let log = EventLog(level: .info, worker: "0.7", console: nil, file: nil, syslog: plan(daemon.path), now: { Self.time })
    log.write(.error, "broken\nthing")
    log.write(.debug, "not this")
    let first = try #require(daemon.next())
    // local3 is 19, error 3: 19 * 8 + 3.
    #expect(first.contains(/^<155>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d edge\[\d+\]: \[worker 0\.7\] broken\?thing$/), "\(first)")
    #expect(daemon.next() == nil)
    #expect(log.lost == 0)
    daemon.stop()
    log.write(.warn, "nobody hears")
    #expect(log.lost == 1)
    daemon.restart()
    log.write(.warn, "again")
    #expect(daemon.next()?.hasSuffix("again") == true)
    #expect(log.lost == 1)
  }

  @Test func accessLinesAreDatagramsOfTheirOwn() throws {
    let daemon = Daemon("\(scratch.path)/log")
    var log = AccessLog(format: try AccessLogFormat("$path $status"), to: .syslog(plan(daemon.path)), bufferSize: 8192)
    let request = SampleRequest(target: Array("/one".utf8)), none: [UInt8] = []
    var entry = AccessEntry()
    entry.status = 200
    for status in [200, 404] as [UInt16] {
      entry.status = status
      log.append(entry, head: request.head, bytes: request.bytes.span, client: none.span, requestID: none.span)
    }
    #expect(daemon.next() == nil)
    log.flush()
    #expect(daemon.next()?.contains(/^<158>.* edge\[\d+\]: \/one 200$/) == true)
    #expect(daemon.next()?.hasSuffix(": /one 404") == true)
    #expect(daemon.next() == nil && log.isEmpty)
  }

  @Test func accessLinesWaitForADaemonThatIsAway() throws {
    let daemon = Daemon("\(scratch.path)/log")
    var log = AccessLog(format: try AccessLogFormat("$path"), to: .syslog(plan(daemon.path)), bufferSize: 4096)
    let request = SampleRequest(target: Array("/\(String(repeating: "x", count: 1000))".utf8)), none: [UInt8] = []
    daemon.stop()
    for _ in 0..<10 { log.append(AccessEntry(), head: request.head, bytes: request.bytes.span, client: none.span, requestID: none.span) }
    #expect(log.dropped > 0 && log.dropped < 10)
    daemon.restart()
    log.flush()
    var count = 0
    while daemon.next() != nil { count += 1 }
    #expect(count == 10 - Int(log.dropped) && log.isEmpty)
  }

  @Test func theJournalGetsFields() throws {
    let daemon = Daemon("\(scratch.path)/journal")
    let stream = try scratch.open("stdout")
    var status = stat()
    #expect(unsafe fstat(stream.raw, &status) == 0)
    let log = EventLog(
      level: .info, worker: "2.11", console: stream, file: nil, journal: "\(status.st_dev):\(status.st_ino)", journalPath: daemon.path, now: { Self.time })
    log.write(.warn, key: EventKey("slow"), "late\nMESSAGE=forged")
    let entry = try #require(daemon.next())
    #expect(
      entry == "SYSLOG_IDENTIFIER=gatewayd\nGATEWAY_WORKER=2\nGATEWAY_GENERATION=11\nPRIORITY=4\nGATEWAY_EVENT=slow\nMESSAGE=late?MESSAGE=forged\n", "\(entry)")
    #expect(scratch.read("stdout").isEmpty)
    daemon.stop()
    log.write(.warn, "to the stream")
    #expect(scratch.read("stdout").hasSuffix("[worker 2.11] to the stream\n"))
  }

  @Test func anotherStreamIsNotTheJournal() throws {
    let daemon = Daemon("\(scratch.path)/journal")
    let log = EventLog(level: .info, worker: nil, console: try scratch.open("stdout"), file: nil, journal: "1:2", journalPath: daemon.path, now: { Self.time })
    log.write(.warn, "plain")
    #expect(daemon.next() == nil)
    #expect(scratch.lines("stdout").count == 1)
    for text in [nil, "", "1", "a:b", "1:2:3", "99999999999999999999:1"] { #expect(!JournalSink.isStream(1, text)) }
  }
}

@Suite struct LineSelectionTests {
  private func plan(_ percent: Int, status: Int = 500, after: Int = 0) -> AccessLogPlan {
    var plan = AccessLogPlan()
    plan.samplePercent = percent
    plan.alwaysFromStatus = status
    plan.alwaysAfter = after
    return plan
  }

  private func rule(_ percent: Int, enabled: Bool = true) -> RouteLogPlan {
    var rule = RouteLogPlan()
    rule.enabled = enabled
    rule.samplePercent = percent
    return rule
  }

  @Test func allRequestsNeedNoSelection() {
    #expect(LineSelection(plan(100_000), routes: [nil, nil], seed: 1) == nil)
    #expect(LineSelection(plan(100_000), routes: [nil, rule(100_000)], seed: 1) == nil)
    #expect(LineSelection(plan(100_000), routes: [rule(100_000, enabled: false)], seed: 1) != nil)
  }

  @Test func shares() throws {
    var selection = try #require(LineSelection(plan(10_000), routes: [nil, rule(0), rule(100_000), rule(50_000, enabled: false)], seed: 7))
    func count(_ route: Int) -> Int { (0..<10_000).count { _ in selection.takes(route: route, status: 200, duration: 5) } }
    // 10 % of 10,000 and six standard deviations.
    #expect((820...1180).contains(count(0)))
    #expect((820...1180).contains(count(-1)))
    #expect((820...1180).contains(count(99)))
    #expect(count(1) == 0)
    #expect(count(2) == 10_000)
    #expect(count(3) == 0)
  }

  @Test func whatIsWrongIsAlwaysTaken() throws {
    var selection = try #require(LineSelection(plan(0, status: 500, after: 100), routes: [nil, rule(0, enabled: false)], seed: 7))
    func takes(_ route: Int, _ status: UInt16, _ duration: Int64) -> Bool { selection.takes(route: route, status: status, duration: duration) }
    let found = [takes(0, 499, 99_999), takes(0, 500, 0), takes(0, 0, 0), takes(0, 200, 100_000), takes(1, 503, 100_000)]
    #expect(found == [false, true, true, true, false])
    var none = try #require(LineSelection(plan(0, status: 0), routes: [], seed: 7))
    let grave = none.takes(route: 0, status: 599, duration: .max - 1), silent = none.takes(route: 0, status: 0, duration: 0)
    #expect(!grave && !silent)
  }
}
