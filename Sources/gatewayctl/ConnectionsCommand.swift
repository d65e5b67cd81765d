// ConnectionsCommand — who is connected to whom through which worker; and so who holds a draining generation.
//
// The connections are the kernel's word, not the gateway's: a worker that hangs is shown as well.

import ArgumentParser
import Control
import Kernel

struct ConnectionsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "connections", abstract: "List the connections of clients and backends by worker.",
    discussion: "With --draining, only those that old generations still have. Needs the rights of the gateway's user, or root.")

  @OptionGroup var instance: InstanceOptions
  @OptionGroup var output: JSONOptions

  @Flag(name: .customLong("draining"), help: "Only those of generations that drain.")
  var isDraining = false

  func run() throws {
    let status = try instance.running().status()
    func port(_ address: JSONValue) -> Int? { address.string?.split(separator: ":").last.flatMap { Int($0) } }
    // Those of a generation that drains may be open no more.
    let ports = Set((status["listeners"].list.map { $0["address"] } + status["generations"].list.flatMap { $0["listeners"].list }).compactMap(port))
    let connections = ProcessFiles.connections()
    var rows: [(generation: JSONValue, worker: JSONValue, entry: KernelConnection)] = []
    for generation in status["generations"].list where !isDraining || generation["state"].string == "draining" {
      for worker in generation["workers"].list {
        guard let process = worker["pid"].number else { continue }
        for (_, target) in ProcessFiles.descriptors(of: ProcessID(clamping: process)) where target.hasPrefix("socket:[") {
          guard let number = Int(target.dropFirst(8).dropLast()), let entry = connections[number] else { continue }
          rows.append((generation, worker, entry))
        }
      }
    }
    rows.sort { ($0.generation["number"].number ?? 0, $0.entry.remote, $0.entry.remotePort) < ($1.generation["number"].number ?? 0, $1.entry.remote, $1.entry.remotePort) }
    func isClient(_ entry: KernelConnection) -> Bool { ports.contains(entry.localPort) }
    if output.isJSON {
      let list = rows.map { row in
        JSONValue.object([
          "generation": row.generation["number"], "state": row.generation["state"], "worker": row.worker["slot"], "pid": row.worker["pid"],
          "with": .string(isClient(row.entry) ? "client" : "backend"), "peer": .string("\(row.entry.remote):\(row.entry.remotePort)"),
          "local": .string("\(row.entry.local):\(row.entry.localPort)"), "tcp": .string(row.entry.state), "unsent": .number(Int64(row.entry.sending)),
          "unread": .number(Int64(row.entry.waiting)),
        ])
      }
      return Terminal.print(JSONValue.object(["connections": .list(list)]).text)
    }
    var table = Table(numeric: [0, 2, 3, 7, 8])
    table.rows = [["GENERATION", "STATE", "WORKER", "PID", "WITH", "PEER", "TCP", "UNSENT", "UNREAD"].map { Cell($0, .heading) }]
    for row in rows {
      let isOld = row.generation["state"].string == "draining"
      table.rows.append([
        Cell("\(row.generation["number"].number ?? 0)"), Cell(row.generation["state"].string ?? "-", isOld ? .waiting : .good), Cell("\(row.worker["slot"].number ?? 0)"),
        Cell("\(row.worker["pid"].number ?? 0)"), Cell(isClient(row.entry) ? "client" : "backend"), Cell("\(row.entry.remote):\(row.entry.remotePort)"),
        Cell(row.entry.state), Cell("\(row.entry.sending)"), Cell("\(row.entry.waiting)"),
      ])
    }
    Terminal.print(table.text(indent: 0, colours: Terminal.hasColours))
  }
}
