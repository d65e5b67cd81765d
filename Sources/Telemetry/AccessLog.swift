// AccessLog — one worker's access log: a line per finished request, collected and written in one go.
//
// Invariants: a line is appended whole or not at all; nothing is allocated after `init`; a destination that
// takes nothing (full disk, slow reader) costs lines, which are counted, and never time.

import HTTPModel
import Kernel
import Memory
import Plan

/// Where access-log lines go.
public enum AccessDestination: ~Copyable {
  /// Open for appending, owned by the log from now on.
  case descriptor(Descriptor)
  case syslog(SyslogPlan)
}

/// Composes access-log lines and writes them in blocks.
public struct AccessLog: ~Copyable {
  private let program: AccessProgram
  private let bufferSize: Int
  private var lines: LineBuffer
  private var time = LogTime()
  /// Nil with `syslog`.
  private var sink: Sink?
  private var syslog: SyslogSink?
  /// Which requests get a line; nil: all.
  private var selection: LineSelection?
  /// The last write was refused: nothing is tried again before the next `flush()`.
  private var isStalled = false
  /// Why the destination has not taken everything at the last try; nil: it has.
  public private(set) var problem: String?
  /// TLS of the connection that the next line is about; to be cleared behind it.
  var connection = ConnectionFacts()
  /// The endpoint that the request of the next line was sent to last.
  private var endpoint = Buffer(capacity: AccessLog.endpointLimit)
  private static var endpointLimit: Int { 128 }
  /// Attempts of the exchange that the next line is about.
  var attempts: AttemptList
  /// Lines that were lost so far.
  public private(set) var dropped: UInt64 = 0

  /// - Parameters:
  ///   - selection: which requests get a line; nil: all.
  ///   - bufferSize: bytes collected before they are written.
  ///   - worker: the text of `$worker`, slot and generation: `0.7`.
  ///   - routes: what `AccessEntry.route` indexes: the patterns of the plan's routes.
  ///   - upstreams: what `AccessEntry.upstream` indexes: the names of the plan's upstreams.
  public init(
    format: borrowing AccessLogFormat, to destination: consuming AccessDestination, bufferSize: Int, worker: String = "-",
    routes: [String] = [], upstreams: [String] = [], selection: LineSelection? = nil
  ) {
    attempts = AttemptList(isJSON: format.isBuiltInJSON)
    program = AccessProgram(format, worker: worker, routes: routes, upstreams: upstreams)
    self.bufferSize = max(bufferSize, AccessProgram.lineLimit)
    lines = LineBuffer(capacity: self.bufferSize + AccessProgram.lineLimit)
    self.selection = selection
    switch consume destination {
    case .descriptor(let descriptor):
      sink = Sink(descriptor)
      syslog = nil
    case .syslog(let plan):
      sink = nil
      syslog = SyslogSink(plan, name: "access")
    }
  }

  /// A log that goes to `descriptor`, with a line for every request.
  public init(
    format: borrowing AccessLogFormat, descriptor: consuming Descriptor, bufferSize: Int, worker: String = "-", routes: [String] = [],
    upstreams: [String] = []
  ) {
    self.init(format: format, to: .descriptor(descriptor), bufferSize: bufferSize, worker: worker, routes: routes, upstreams: upstreams)
  }

  /// Whether a finished request gets a line.
  /// - Parameters:
  ///   - route: -1: none.
  ///   - status: 0: no response was sent.
  ///   - duration: microseconds.
  @inline(__always)
  public mutating func takes(route: Int, status: UInt16, duration: Int64) -> Bool {
    selection == nil || selection?.takes(route: route, status: status, duration: duration) == true
  }

  /// Whether the lines name their request.
  public var showsRequestIDs: Bool { program.showsRequestIDs }

  /// …or the endpoint that has answered.
  public var showsEndpoints: Bool { program.showsEndpoints }

  /// Whether no line waits to be written.
  public var isEmpty: Bool { lines.isEmpty }

  /// Writes what has been collected. To be called when `access_log.flush_interval_ms` is over, before the worker
  /// exits and before the log goes away. What the destination does not take stays for the next time.
  public mutating func flush() {
    isStalled = false
    problem = nil
    if syslog != nil { return sendLines() }
    let limit = sink?.writeLimit ?? .max
    var wasCut = false
    while !lines.isEmpty {
      let size = lines.lines(upTo: limit).count
      let written = sink?.write(lines.lines(upTo: limit)) ?? 0
      if written > 0 { lines.wrote(written) }
      if written == size { continue }
      // Where only a part was taken, the next try tells why.
      if written > 0, !wasCut {
        wasCut = true
        continue
      }
      isStalled = true
      // A reader that is slow for a moment is none.
      let error = Errno.current
      problem = written > 0 || error == .wouldBlock ? nil : error.text
      return
    }
  }

  /// Sends each line as a datagram. What a daemon does not take stays for the next time, as with a file.
  private mutating func sendLines() {
    guard !lines.isEmpty, var daemon = syslog.take() else { return }
    daemon.begin(.info, at: wallClock())
    while !lines.isEmpty {
      let size = lines.firstLine().count
      guard daemon.send(lines.firstLine().extracting(first: size - 1)) else {
        isStalled = true
        problem = "the syslog daemon does not take it"
        break
      }
      lines.wrote(size)
    }
    syslog = consume daemon
  }

  /// Writes what has been collected, for the last time: lines that are not taken are dropped.
  public mutating func close() {
    flush()
    while !lines.isEmpty {
      let count = lines.firstLine().count
      // A line feed alone only parts them from a piece that was written.
      if count > 1 { dropped &+= 1 }
      lines.wrote(count)
    }
  }

  /// Writes what has been collected to the old destination, then turns to a new one.
  public mutating func replace(descriptor: consuming Descriptor) {
    flush()
    if syslog == nil { sink = Sink(descriptor) }
  }

  /// Adds the line of one finished request.
  /// - Parameters:
  ///   - head: as parsed from `bytes`; a head with an empty target was not parsed, and its fields are not looked at.
  ///   - client: the client's address as text.
  ///   - requestID: empty when the request has none.
  public mutating func append(
    _ entry: borrowing AccessEntry, head: borrowing RequestHead, bytes: Span<UInt8>, client: Span<UInt8>, requestID: Span<UInt8>
  ) {
    guard lines.freeCapacity >= AccessProgram.lineLimit || makeRoom() else {
      dropped &+= 1
      attempts.clear()
      endpoint.removeAll()
      return
    }
    let request = AccessLine(
      bytes: bytes, client: client, requestID: requestID, endedAt: UInt64(max(0, entry.startedAt &+ max(0, entry.duration))))
    time.update(seconds: Int(request.seconds))
    if program.isBuiltInJSON {
      request.writeJSON(entry, head, program, connection, attempts, endpoint, time, into: &lines)
    } else {
      request.write(entry, head, program, connection, attempts, endpoint, time, into: &lines)
    }
    if !attempts.isEmpty { attempts.clear() }
    if !endpoint.isEmpty { endpoint.removeAll() }
    if lines.count >= bufferSize, !isStalled { flush() }
  }

  /// Whether the next line is about a connection with TLS.
  public var isSecure: Bool { connection.isSecure }

  /// Takes other facts of the connection for the next line, and gives those that were there: so they are filled in where they lie.
  public mutating func exchange(connection other: inout ConnectionFacts) { swap(&connection, &other) }

  /// Notes the endpoint that the request of the next line was sent to last.
  public mutating func note(endpoint name: Span<UInt8>) {
    endpoint.removeAll()
    endpoint.append(name.extracting(first: min(name.count, Self.endpointLimit)))
  }

  /// Notes an attempt of the exchange that the next line is about.
  /// - Parameters:
  ///   - endpoint: address and port; empty when there was none yet.
  ///   - status: of the response; 0 when `fault` says how it ended.
  ///   - duration: microseconds.
  public mutating func note(attemptAt endpoint: Span<UInt8>, fault: Fault, status: UInt16, duration: Int64) {
    attempts.append(endpoint: endpoint, fault: fault, status: status, duration: duration)
  }

  @inline(never)
  private mutating func makeRoom() -> Bool {
    lines.compact()
    if lines.freeCapacity < AccessProgram.lineLimit, !isStalled {
      flush()
      lines.compact()
    }
    return lines.freeCapacity >= AccessProgram.lineLimit
  }
}
