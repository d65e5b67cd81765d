// TopCommand — a live table from shared memory: it asks nobody, and so works when the master, or every worker, does not answer.

import ArgumentParser
import Control
import Glibc
import Kernel
import SharedState

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Show workers and rates, again and again, from shared memory.",
    discussion: "Works when the gateway does not answer. Needs the rights of the gateway's user, or root. Ends with Ctrl-C.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  @Option(name: .customLong("interval"), help: ArgumentHelp("Between two tables, 1 to 3600 (default 1).", valueName: "seconds"))
  var interval: Digits?

  @Option(name: .customLong("count"), help: ArgumentHelp("Tables until it ends; 0: without end.", valueName: "number"))
  var count: Digits?

  func validate() throws {
    if let interval, !(1...3600).contains(interval.value) { throw ValidationError("--interval must be 1 to 3600 seconds") }
  }

  func run() throws {
    let gateway = try instance.running()
    guard let board = Self.board(of: gateway.process) else {
      Terminal.complain("\(Product.tool): cannot map the scoreboard of \(Product.daemon) (PID \(gateway.process)): another version, or no right to")
      throw Outcome.failed
    }
    let tables = TrafficTables(of: gateway.process)
    let pause = interval?.value ?? 1
    var left = count?.value ?? (output.isJSON ? 1 : 0)
    let isEndless = left == 0
    var before = BoardSample(board, tables)
    let isTerminal = isatty(STDOUT_FILENO) == 1
    repeat {
      Poll.pause(milliseconds: CInt(clamping: pause * 1000))
      let now = BoardSample(board, tables)
      if output.isJSON {
        Terminal.print(TopText.json(before, now))
      } else {
        Terminal.print((isTerminal ? "\u{1b}[H\u{1b}[2J" : "") + TopText.text(before, now, colours: Terminal.hasColours))
      }
      before = now
      left -= 1
    } while (isEndless || left > 0) && gateway.isRunning
  }

  /// The scoreboard among the memory files that the master has open.
  private static func board(of process: ProcessID) -> Scoreboard? {
    for (number, target) in ProcessFiles.descriptors(of: process) where target.hasPrefix("/memfd:gateway scoreboard") {
      if let file = try? Descriptor(owning: unsafe open("/proc/\(process)/fd/\(number)", O_RDWR | O_CLOEXEC)), let board = try? Scoreboard(file) { return board }
    }
    return nil
  }
}

/// What the scoreboard says at one moment.
struct BoardSample {
  struct Worker {
    let row: WorkerRow
    let connections: UInt64
    let active: UInt64
    let requests: UInt64
  }

  let at = Time.milliseconds
  let totals: [Counter: UInt64]
  let workers: [Worker]
  let generation: UInt64
  let restarts: UInt64
  /// Of the generation that serves; nil: it cannot be read.
  let traffic: TrafficSample?

  init(_ board: Scoreboard, _ tables: TrafficTables) {
    totals = Dictionary(uniqueKeysWithValues: Counter.allCases.map { ($0, board.sum(of: $0)) })
    workers = board.rows().map { row in
      let page = board.page(row.row)
      return Worker(
        row: row, connections: page?.value(of: .connectionsActive) ?? 0, active: page?.value(of: .requestsActive) ?? 0, requests: page?.value(of: .requests) ?? 0)
    }
    generation = board.value(of: .generation)
    restarts = board.value(of: .restarts)
    traffic = tables.sample(generation: generation)
  }
}

/// Two samples drawn. Pure.
enum TopText {
  /// What is shown of a counter: by which name to people, and by which to programs.
  private struct Figure {
    let label: String
    let key: String
    let counter: Counter

    init(_ label: String, _ counter: Counter, key: String? = nil) {
      self.label = label
      self.key = key ?? label.lowercased().replacing(" ", with: "_")
      self.counter = counter
    }
  }

  private static let rates = [
    Figure("requests", .requests), Figure("connections", .connectionsAccepted), Figure("2xx", .responses2xx), Figure("3xx", .responses3xx), Figure("4xx", .responses4xx),
    Figure("5xx", .responses5xx), Figure("forwarded", .requestsForwarded), Figure("failed attempts", .upstreamFailures), Figure("retries", .upstreamRetries),
    Figure("rate limited", .rateLimitRefusals), Figure("TLS handshakes", .tlsHandshakes), Figure("log lines dropped", .logLinesDropped),
  ]
  private static let gauges = [
    Figure("connections", .connectionsActive), Figure("requests", .requestsActive), Figure("to backends", .upstreamConnectionsActive, key: "upstream_connections"),
    Figure("idle there", .upstreamConnectionsIdle, key: "upstream_connections_idle"), Figure("waiting", .waiting),
    Figure("HTTP/2 streams", .http2StreamsActive, key: "http2_streams"), Figure("WebSockets", .webSocketsActive), Figure("tunnels", .tunnelsActive),
  ]

  static func perSecond(_ counter: Counter, _ before: BoardSample, _ now: BoardSample) -> Int64 {
    let difference = Int64(clamping: (now.totals[counter] ?? 0) &- (before.totals[counter] ?? 0))
    return difference * 1000 / max(1, now.at - before.at)
  }

  static func text(_ before: BoardSample, _ now: BoardSample, colours: Bool) -> String {
    var table = Table(numeric: [1, 3, 5, 7])
    func rows(_ pairs: [(String, String)]) {
      for start in stride(from: 0, to: pairs.count, by: 4) {
        table.rows.append(pairs[start..<min(start + 4, pairs.count)].flatMap { [Cell($0.0), Cell($0.1, .heading)] })
      }
    }
    rows(rates.map { ($0.label + "/s", "\(perSecond($0.counter, before, now))") })
    rows(gauges.map { ($0.label, "\(now.totals[$0.counter] ?? 0)") })
    var workers = Table(numeric: [0, 1, 2, 4, 5, 6, 7])
    workers.rows = [["GENERATION", "WORKER", "PID", "STATE", "REQUESTS/S", "ACTIVE", "CONNECTIONS", "SILENT MS"].map { Cell($0, .heading) }]
    for worker in now.workers {
      let old = before.workers.first { $0.row.processID == worker.row.processID }
      let rate = Int64(clamping: worker.requests &- (old?.requests ?? worker.requests)) * 1000 / max(1, now.at - before.at)
      let silence = worker.row.heartbeat > 0 ? max(0, now.at - worker.row.heartbeat) : 0
      workers.rows.append([
        Cell("\(worker.row.generation)"), Cell("\(worker.row.slot)"), Cell("\(worker.row.processID)"),
        Cell(worker.row.state.text, worker.row.state == .ready ? .good : .waiting), Cell("\(rate)"), Cell("\(worker.active)"), Cell("\(worker.connections)"),
        Cell("\(silence)", silence >= 3000 ? .bad : .plain),
      ])
    }
    let seconds = Double(max(1, now.at - before.at)) / 1000
    return "generation \(now.generation), \(now.workers.count) worker processes, \(now.restarts) replaced\n\n" + table.text(indent: 0, colours: colours) + "\n"
      + workers.text(indent: 0, colours: colours) + (now.traffic.map { TrafficText.text($0.since(before.traffic), seconds: seconds, colours: colours) } ?? "")
  }

  static func json(_ before: BoardSample, _ now: BoardSample) -> String {
    let second = JSONValue.object(Dictionary(uniqueKeysWithValues: rates.map { ($0.key, JSONValue.number(perSecond($0.counter, before, now))) }))
    let present = JSONValue.object(Dictionary(uniqueKeysWithValues: gauges.map { ($0.key, JSONValue.number(Int64(clamping: now.totals[$0.counter] ?? 0))) }))
    let workers = now.workers.map { worker in
      JSONValue.object([
        "generation": .number(Int64(clamping: worker.row.generation)), "slot": .number(Int64(worker.row.slot)), "pid": .number(Int64(worker.row.processID)),
        "state": .string(worker.row.state.text), "requests": .number(Int64(clamping: worker.requests)), "active": .number(Int64(clamping: worker.active)),
        "connections": .number(Int64(clamping: worker.connections)),
      ])
    }
    var members = ["generation": JSONValue.number(Int64(clamping: now.generation)), "per_second": second, "now": present, "workers": .list(workers)]
    if let traffic = now.traffic { members.merge(TrafficText.json(traffic.since(before.traffic), seconds: Double(max(1, now.at - before.at)) / 1000)) { $1 } }
    return JSONValue.object(members).text
  }
}
