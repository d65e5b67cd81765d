// StatusText — a status drawn for people.
//
// Pure: the master's JSON in, text out. What is missing from the JSON is left out or drawn as "-".

import Control

enum StatusText {
  /// What can be said of a gateway that is not reached.
  static func brief(_ gateway: RunningGateway) -> String {
    "\(Product.daemon) is running\n  PID       \(gateway.process)\n  PID file  \(gateway.pidFile)"
  }

  static func text(_ status: JSONValue, now: Int64, colours: Bool) -> String {
    let state = status["state"].string ?? "running"
    let running = Cell("running", .good).shown(colours: colours)
    var text = "\(Product.daemon) \(status["version"].string ?? "") is \(running)\(state == "serving" ? "" : ", \(state)")\n"
    text += facts(status, now).text(indent: 2, colours: colours)
    for line in status["last_reload"]["warnings"].list + status["last_reload"]["errors"].list { text += "    \(Cell(line.string ?? "").text)\n" }
    text += "\n" + workers(status).text(indent: 0, colours: colours)
    let certificates = certificates(status)
    if !certificates.rows.isEmpty { text += "\nCertificates:\n" + certificates.text(indent: 2, colours: colours) }
    for line in status["certificate_problems"].list { text += "  not in use: \(Cell(line.string ?? "").text)\n" }
    let names = names(status)
    if !names.rows.isEmpty { text += "\nNames:\n" + names.text(indent: 2, colours: colours) }
    let deaths = deaths(status, now)
    if !deaths.rows.isEmpty { text += "\nWorkers that died:\n" + deaths.text(indent: 2, colours: colours) }
    return text
  }

  private static func facts(_ status: JSONValue, _ now: Int64) -> Table {
    let master = status["master"], totals = status["totals"]
    var table = Table()
    func add(_ name: String, _ cell: Cell?) {
      if let cell { table.rows.append([Cell(name), cell]) }
    }
    add("PID", master["pid"].number.map { Cell("\($0)") })
    add("PID file", master["pid_file"].string.map { Cell($0) })
    add("configuration", master["config_file"].string.map { Cell($0.isEmpty ? "(defaults)" : $0) })
    add("program", master["binary"].string.map { Cell($0) })
    add("control socket", Cell(master["control_socket"].string ?? "-"))
    add("uptime", master["uptime_sec"].number.map { Cell(duration($0)) })
    for (index, listener) in status["listeners"].list.enumerated() {
      add(index == 0 ? "listening on" : "", Cell("\(listener["address"].string ?? "-") (\(count(listener["sockets"].number ?? 0, "socket")))"))
    }
    add("generation", Cell(status["generation"].number.map { "\($0)" } ?? "-"))
    if let requests = totals["requests"].number, let connections = totals["connections_accepted"].number {
      add("served", Cell("\(count(requests, "request")) on \(count(connections, "connection"))"))
    }
    add("backends", backends(totals))
    let logs = status["logs"]
    add("error log", logs["error"].string.map { Cell($0.isEmpty ? "(standard output, syslog or journal)" : $0) })
    if let access = logs["access"].string, !access.isEmpty { add("access log", Cell(access)) }
    if let dropped = totals["log_lines_dropped"].number, dropped > 0 { add("log lines lost", Cell("\(dropped)", .bad)) }
    if let restarts = status["restarts"].number, restarts > 0 { add("restarts", Cell("\(restarts)", .waiting)) }
    add("last reload", reload(status["last_reload"], now))
    return table
  }

  /// Connections to backends, and those of them that carry HTTP/2.
  private static func backends(_ totals: JSONValue) -> Cell? {
    guard let all = totals["upstream_connections_active"].number, let idle = totals["upstream_connections_idle"].number else { return nil }
    var text = "\(count(all, "connection")), \(idle) idle"
    if let sessions = totals["upstream_sessions_active"].number, let streams = totals["upstream_streams_active"].number, sessions > 0 {
      text += "; \(sessions) of them HTTP/2 with \(count(streams, "stream"))"
    }
    return Cell(text)
  }

  private static func reload(_ outcome: JSONValue, _ now: Int64) -> Cell {
    guard let at = outcome["at"].number else { return Cell("never") }
    let ago = "\(duration(max(0, now - at))) ago"
    if outcome["ok"].bool == true {
      return outcome["warnings"].list.isEmpty ? Cell("succeeded, \(ago)", .good) : Cell("succeeded, \(ago), with warnings:", .waiting)
    }
    return Cell("failed, \(ago):", .bad)
  }

  private static func workers(_ status: JSONValue) -> Table {
    var table = Table(numeric: [0, 2, 3, 5, 6, 7, 8, 9])
    let titles = ["GENERATION", "STATE", "WORKER", "PID", "STATE", "UPTIME", "CONNECTIONS", "ACTIVE", "REQUESTS", "RESTARTS", "LAST DEATH"]
    table.rows.append(titles.map { Cell($0, .heading) })
    for generation in status["generations"].list {
      let number = Cell(generation["number"].number.map { "\($0)" } ?? "-")
      for worker in generation["workers"].list {
        func count(_ name: String) -> Cell { Cell(worker[name].number.map { "\($0)" } ?? "-") }
        table.rows.append([
          number, state(generation), count("slot"), count("pid"), state(worker), Cell(worker["uptime_sec"].number.map(duration) ?? "-"),
          count("connections"), count("requests_active"), count("requests"), count("restarts"), Cell(worker["last_death"].string ?? "-"),
        ])
      }
      if generation["workers"].list.isEmpty { table.rows.append([number, state(generation)]) }
    }
    return table
  }

  /// Days before its end from which a certificate is shown as waiting to be replaced.
  private static let fewDays: Int64 = 14

  static func certificates(_ status: JSONValue) -> Table {
    var table = Table(numeric: [3])
    guard !status["certificates"].list.isEmpty else { return table }
    table.rows.append(["LISTENER", "NAMES", "KEY", "DAYS LEFT", "FILE"].map { Cell($0, .heading) })
    for certificate in status["certificates"].list {
      let names = certificate["names"].list.compactMap(\.string)
      let shown = names.prefix(3).joined(separator: ", ") + (names.count > 3 ? ", … (\(names.count))" : "")
      let days = certificate["days_left"].number ?? 0
      let isExpired = certificate["expired"].bool == true
      let left = isExpired ? Cell("expired", .bad) : days < fewDays ? Cell("\(days)", .waiting) : Cell("\(days)")
      table.rows.append([
        Cell(certificate["listener"].string ?? "-"), Cell(shown.isEmpty ? "-" : shown), Cell(certificate["key"].string ?? "-"), left,
        Cell(certificate["file"].string ?? "-"),
      ])
    }
    return table
  }

  private static func names(_ status: JSONValue) -> Table {
    var table = Table(numeric: [1, 2])
    guard !status["names"].list.isEmpty else { return table }
    table.rows.append(["NAME", "AGE", "GOOD FOR", "ADDRESSES", "PROBLEM"].map { Cell($0, .heading) })
    for name in status["names"].list {
      let addresses = name["addresses"].list.compactMap(\.string)
      let shown = addresses.prefix(4).joined(separator: ", ") + (addresses.count > 4 ? ", … (\(addresses.count))" : "")
      let problem = name["error"].string.map { Cell($0, addresses.isEmpty ? .bad : .waiting) } ?? Cell("-")
      func time(_ key: String) -> Cell { Cell(name[key].number.map { duration($0 / 1000) } ?? "-") }
      let left = name["stale"].bool == true ? Cell("stale", .waiting) : time("ttl_left_ms")
      table.rows.append([Cell(name["name"].string ?? "-"), time("age_ms"), left, shown.isEmpty ? Cell("none", .bad) : Cell(shown), problem])
    }
    return table
  }

  private static func deaths(_ status: JSONValue, _ now: Int64) -> Table {
    var table = Table()
    for death in status["deaths"].list.suffix(10) {
      let who = "worker \(death["slot"].number ?? 0).\(death["generation"].number ?? 0)"
      let when = death["at"].number.map { "\(duration(max(0, now - $0))) ago" } ?? ""
      table.rows.append([Cell(when), Cell(who), Cell(death["pid"].number.map { "PID \($0)" } ?? "-"), Cell(death["reason"].string ?? "", .bad)])
    }
    return table
  }

  /// Milliseconds; a worker shows once a second that it turns.
  private static let longSilence: Int64 = 5_000

  private static func state(_ value: JSONValue) -> Cell {
    let name = value["state"].string ?? "-"
    if let wait = value["respawn_in_ms"].number { return Cell("\(name), \(duration((wait + 999) / 1000))", .waiting) }
    if let age = value["heartbeat_age_ms"].number, age >= longSilence { return Cell("\(name), silent for \(duration(age / 1000))", .bad) }
    switch name {
    case "serving", "ready": return Cell(name, .good)
    case "starting", "draining", "leaving": return Cell(name, .waiting)
    default: return Cell(name)
    }
  }

  /// `1 socket`, `2 sockets`.
  private static func count(_ number: Int64, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

  /// `5 s`, `3 min 20 s`, `2 h 5 min`, `12 d 3 h`.
  static func duration(_ seconds: Int64) -> String {
    if seconds < 60 { return "\(max(0, seconds)) s" }
    if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
    if seconds < 86_400 { return "\(seconds / 3600) h \(seconds % 3600 / 60) min" }
    return "\(seconds / 86_400) d \(seconds % 86_400 / 3600) h"
  }
}
