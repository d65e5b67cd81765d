// ControlProtocol — how gatewayctl speaks with a running master, both sides in one file.
//
// A connection to the control socket carries one request: a line of at most 4,200 bytes. The answer is any
// number of lines that begin with a blank (what to show, after the blank) and one that does not: `ok`,
// `failed` or `refused`. Then the master closes. A connection that closes without such a line failed. Lines that begin with `+` may come
// before the answer: why it is not here yet.
//
//     reload        ok when the new generation serves; failed with the reasons
//     reopen        the log files are opened anew
//     plan          the effective configuration that runs, `---`, and the one that a reload would bring; failed with the reasons
//     status        the state as JSON
//     upgrade N PATH  another program (without PATH: the file of this one), whose check may take N seconds (without N: 60), takes over and
//                   reloads; ok when its first generation serves
//     stop          drains, and answers when everything has ended; `stop now` does not drain
//     upstreams     the upstreams and their endpoints as JSON; `upstreams drain NAME/ENDPOINT`, `enable` and `disable` change one
//     version       the program's version
//     limits N      the zones of rate and concurrency limits as JSON, with N keys of each zone that keeps them
//     breakers      the circuit breakers as JSON; `breakers open NAME`, `close` and `reset` change one
//
// The socket's mode is 0600, and the peer must be root or whoever the master runs as.

import Kernel

/// What can be asked of a master.
public enum ControlRequest: Equatable, Sendable {
  case reload, reopen, status, stop, version, stopNow, plan
  /// To the program at a path (empty: at the path of the running one), whose check may take so many seconds.
  case upgrade(String, seconds: Int = UpgradeLimits.checkSeconds)
  /// With so many keys at most of each zone.
  case limits(Int)
  case breakers
  case openBreaker(String), closeBreaker(String), resetBreaker(String)
  case upstreams
  /// The endpoint goes by the name of its upstream, a slash, and its own name.
  case drainEndpoint(String), enableEndpoint(String), disableEndpoint(String)

  /// Keys of a zone that can be asked for.
  public static let topLimit = 1024

  private static let plain: [(line: String, request: ControlRequest)] = [
    ("reload", .reload), ("reopen", .reopen), ("status", .status), ("stop", .stop), ("stop now", .stopNow), ("version", .version), ("breakers", .breakers),
    ("upgrade", .upgrade("")), ("plan", .plan), ("upstreams", .upstreams),
  ]

  /// What stands on the wire, without the end of the line.
  public var line: String {
    switch self {
    case .upgrade(let path, let seconds):
      "upgrade" + (seconds == UpgradeLimits.checkSeconds ? "" : " \(seconds)") + (path.isEmpty ? "" : " " + path)
    case .limits(let top): "limits \(top)"
    case .openBreaker(let name): "breakers open " + name
    case .closeBreaker(let name): "breakers close " + name
    case .resetBreaker(let name): "breakers reset " + name
    case .drainEndpoint(let name): "upstreams drain " + name
    case .enableEndpoint(let name): "upstreams enable " + name
    case .disableEndpoint(let name): "upstreams disable " + name
    default: Self.plain.first { $0.request == self }?.line ?? ""
    }
  }

  public init?(line: String) {
    if let known = Self.plain.first(where: { $0.line == line }) {
      self = known.request
      return
    }
    if line.hasPrefix("limits "), let top = Int(line.dropFirst("limits ".count)), (0...Self.topLimit).contains(top) {
      self = .limits(top)
      return
    }
    if line.hasPrefix("upgrade "), line.count > "upgrade ".count {
      self = Self.upgrade(from: line.dropFirst("upgrade ".count))
      return
    }
    let orders: [(String, (String) -> ControlRequest)] = [
      ("breakers open ", { .openBreaker($0) }), ("breakers close ", { .closeBreaker($0) }), ("breakers reset ", { .resetBreaker($0) }),
      ("upstreams drain ", { .drainEndpoint($0) }), ("upstreams enable ", { .enableEndpoint($0) }), ("upstreams disable ", { .disableEndpoint($0) }),
    ]
    for (start, make) in orders where line.hasPrefix(start) && line.count > start.count {
      self = make(String(line.dropFirst(start.count)))
      return
    }
    return nil
  }

  /// A number of seconds, a path, or both in this order. What is no number, or out of bounds, belongs to the path.
  private static func upgrade(from words: Substring) -> ControlRequest {
    let number = words.prefix { $0 != " " }
    guard number.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let seconds = Int(number), UpgradeLimits.bounds.contains(seconds) else { return .upgrade(String(words)) }
    return .upgrade(String(words.dropFirst(number.count).drop { $0 == " " }), seconds: seconds)
  }
}

/// How long the check of a program that is to take over may take, in seconds.
public enum UpgradeLimits {
  public static let checkSeconds = 60
  public static let bounds = 1...3600
}

/// How it went.
public enum ControlStatus: String, Sendable {
  case ok, failed, refused
}

/// The whole answer.
public struct ControlAnswer: Equatable, Sendable {
  public var status: ControlStatus
  public var lines: [String]

  public init(_ status: ControlStatus, _ lines: [String] = []) {
    self.status = status
    self.lines = lines
  }

  /// What stands on the wire. Line breaks within a line become separate lines, so none can forge the last.
  var encoded: String { lines.map { Self.encoded(line: $0) }.joined() + status.rawValue + "\n" }

  static func encoded(line: String, _ mark: Character = " ") -> String {
    line.split(separator: "\n", omittingEmptySubsequences: false).map { "\(mark)\($0)\n" }.joined()
  }

  /// Reads a complete answer; nil when the last line is missing.
  init?(decoding text: String) {
    var lines: [String] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
      if line.first == " " {
        lines.append(String(line.dropFirst()))
      } else if line.first == "+" {
        continue
      } else if let status = ControlStatus(rawValue: String(line)) {
        self.init(status, lines)
        return
      } else {
        return nil
      }
    }
    return nil
  }
}

/// Why no answer came.
public enum ControlFailure: Error, Equatable {
  /// Nobody listens, or a process other than the expected one does: fall back to signals.
  case unreachable(String)
  /// The master accepted the request and went away, or was silent too long.
  case noAnswer(String)

  public var text: String {
    switch self {
    case .unreachable(let text), .noAnswer(let text): text
    }
  }
}

/// What has come of an answer. Pure.
struct AnswerReader {
  private var bytes: [UInt8] = []

  var count: Int { bytes.count }

  /// Takes bytes in, and returns the notes that are complete with them.
  mutating func take(_ part: [UInt8]) -> [String] {
    bytes += part
    var notes: [String] = []
    while bytes.first == UInt8(ascii: "+"), let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
      notes.append(String(decoding: bytes[1..<end], as: UTF8.self))
      bytes.removeFirst(end + 1)
    }
    return notes
  }

  /// The whole answer; nil when its end is missing.
  var answer: ControlAnswer? { ControlAnswer(decoding: String(decoding: bytes, as: UTF8.self)) }
}

/// gatewayctl's side.
public enum ControlClient {
  /// Asks the master whose PID file is at `pidFile` and waits for its answer, at most `milliseconds` in all (0: for good).
  /// - Parameters:
  ///   - process: the id in the PID file; a socket of any other process is not spoken to.
  ///   - note: is given what the master says before its answer.
  public static func ask(
    _ request: ControlRequest, pidFile: String, process: ProcessID, milliseconds: CInt = 0, note: (String) -> Void = { _ in }
  ) throws(ControlFailure) -> ControlAnswer {
    let socket = try connect(pidFile, process, milliseconds)
    return try ask(request, over: socket, milliseconds, note)
  }

  /// Asks likewise for something, and does not wait for what comes of it.
  public static func tell(_ request: ControlRequest, pidFile: String, process: ProcessID) throws(ControlFailure) {
    let socket = try connect(pidFile, process, 1000)
    guard Files.write(request.line + "\n", to: socket.raw) else { throw .unreachable("the control socket takes no request: \(Errno.current.text)") }
  }

  private static func connect(_ pidFile: String, _ process: ProcessID, _ milliseconds: CInt) throws(ControlFailure) -> Descriptor {
    var reason = "there is no control socket"
    for path in RuntimePaths.controlSockets(pidFile: pidFile) {
      let socket: Descriptor
      do {
        socket = try BoundSocket.connect(unixPath: path, milliseconds: milliseconds)
      } catch {
        if error != .noSuchFile { reason = "cannot connect to \(path): \(error.text)" }
        continue
      }
      guard let peer = PeerCredentials(of: socket), peer.process == process else {
        reason = "the control socket \(path) belongs to another process"
        continue
      }
      return socket
    }
    throw .unreachable(reason)
  }

  private static func ask(_ request: ControlRequest, over socket: borrowing Descriptor, _ milliseconds: CInt, _ note: (String) -> Void) throws(ControlFailure) -> ControlAnswer {
    Files.write(request.line + "\n", to: socket.raw)
    var reader = AnswerReader()
    let deadline = Time.milliseconds + Int64(milliseconds)
    while true {
      var poll = Poll()
      poll.add(socket.raw)
      poll.wait(milliseconds: milliseconds == 0 ? -1 : CInt(clamping: max(0, deadline - Time.milliseconds)))
      guard poll.isReadable(0) else {
        // Interrupted, or too late.
        if milliseconds == 0 || Time.milliseconds < deadline { continue }
        break
      }
      guard let part = Files.read(socket.raw, limit: 65_536) else { break }
      if part.isEmpty {
        guard let answer = reader.answer else { throw .noAnswer("the master ended without an answer") }
        return answer
      }
      for text in reader.take(part) { note(text) }
      guard reader.count <= 64 << 20 else { throw .noAnswer("the answer is too long") }
    }
    throw .noAnswer("the master did not answer in time")
  }
}

/// One connection at the master: a request to read, then an answer to write, neither of which may hold it up.
public final class ControlConnection {
  public enum Event: Equatable {
    case none
    case request(ControlRequest)
    /// Done, or not worth keeping.
    case close
  }

  private let socket: Descriptor
  private var input: [UInt8] = []
  private var output: [UInt8] = []
  private var isAnswered = false
  /// A request has come; what follows is ignored.
  public private(set) var isAsked = false

  /// Takes a connection if whoever made it may ask.
  public init(_ peer: consuming LocalPeer) {
    let user = peer.credentials.user
    socket = peer.socket
    if user != 0, user != Process.effectiveUser { answer(ControlAnswer(.refused, ["only root and the user of the master may ask"])) }
  }

  /// Goes on with a connection of the program before this one.
  public init(adopting socket: consuming Descriptor, isAsked: Bool) {
    self.socket = socket
    self.isAsked = isAsked
  }

  public var raw: CInt { socket.raw }
  /// The whole answer is on its way.
  public var isDone: Bool { isAnswered && output.isEmpty }
  /// Whether something waits to be written.
  public var wantsOutput: Bool { !output.isEmpty }

  /// Tells why the answer is not here yet.
  public func note(_ text: String) {
    guard !isAnswered else { return }
    output += Array(ControlAnswer.encoded(line: text, "+").utf8)
    _ = write()
  }

  /// Queues the answer; what fits is written at once.
  public func answer(_ answer: ControlAnswer) {
    guard !isAnswered else { return }
    isAnswered = true
    output += Array(answer.encoded.utf8)
    _ = flush()
  }

  /// Goes on after the socket has become readable or writable.
  public func proceed(readable: Bool) -> Event {
    if isAnswered { return flush() }
    if !output.isEmpty, !write() { return .close }
    guard readable else { return .none }
    guard let part = Files.read(socket.raw, limit: 4300) else { return .none }
    // The asker has gone; whatever it asked for goes on.
    if part.isEmpty { return .close }
    if isAsked { return .none }
    input += part
    guard let end = input.firstIndex(of: UInt8(ascii: "\n")) else {
      guard input.count <= 4200 else {
        answer(ControlAnswer(.refused, ["the request is too long"]))
        return flush()
      }
      return .none
    }
    let line = String(decoding: input[..<end], as: UTF8.self)
    guard let request = ControlRequest(line: line) else {
      answer(ControlAnswer(.refused, ["there is no request \"\(line)\""]))
      return flush()
    }
    isAsked = true
    return .request(request)
  }

  private func flush() -> Event { write() && !output.isEmpty ? .none : .close }

  /// Writes what the socket takes; false when the peer has gone.
  private func write() -> Bool {
    while !output.isEmpty {
      guard let count = Files.writeOnce(output, to: socket.raw) else { return true }
      guard count > 0 else { return false }
      output.removeFirst(count)
    }
    return true
  }
}
