// Inheritance — what a master begins with that is older than itself: sockets with connections in their queues, buckets of
// rate limits, addresses of names, totals. Found by an Inventory; what cannot be used is begun anew, and said.

import Kernel
import Plan
import SharedState

struct Inheritance {
  var sockets: [OfferedSocket] = []
  /// Passed by socket units; to be matched with a plan.
  var activated: [NamedFile] = []
  var board: SharedFile?
  var rates: [RateSegment] = []
  var concurrency: [ConcurrencySegment] = []
  var endpoints: EndpointSegment?
  var names: NameSegment?
  var breakers: SharedFile?
  var bell: SharedFile?
  /// What is to be said about it, once there is a log.
  var notes: [(level: LogPlan.Level, text: String)] = []

  init() {}

  /// What another program has handed over.
  init(_ takeover: Takeover) {
    take(takeover.state.inventory) { number in
      guard let own = Descriptor.duplicate(of: number) else { return nil }
      return SharedFile(own)
    }
  }

  /// Takes what `inventory` lists.
  /// - Parameter file: finds a file by its number.
  mutating func take(_ inventory: Inventory, file: (Int32) -> SharedFile?) {
    for entry in inventory.sockets {
      guard let found = file(entry.file), let facts = SocketFacts(found.descriptor), let own = try? found.descriptor.duplicate() else { continue }
      let socket = ListeningSocket(own, isListening: facts.isListening)
      socket.storeNumber = entry.storeNumber
      sockets.append(
        OfferedSocket(socket: socket, key: entry.key, port: entry.port, slot: entry.slot, isShared: entry.isShared, isActivated: entry.isActivated))
    }
    let meaning = try? Plan(decoding: inventory.meaning)
    let zones = meaning?.rateLimit.zones ?? [], countedZones = meaning?.concurrencyLimit.zones ?? []
    for entry in inventory.segments {
      guard let found = file(entry.file) else { continue }
      found.storeNumber = entry.storeNumber
      switch SegmentKind(rawValue: entry.kind) {
      case .scoreboard:
        if entry.layout == Scoreboard.layout, (try? Scoreboard(found.descriptor)) != nil {
          board = found
        } else {
          notes.append((.warn, "the counters of version \(inventory.program) have another layout: they begin anew"))
        }
      case .rateZone:
        if let zone = zones.first(where: { $0.name == entry.name }), entry.layout == RateTable.layout, let segment = try? RateSegment(zone, existing: found) {
          rates.append(segment)
        } else {
          notes.append((.warn, "the table of rate limit \"\(entry.name)\" of version \(inventory.program) has another layout: it begins empty"))
        }
      case .concurrencyZone:
        if let zone = countedZones.first(where: { $0.name == entry.name }), entry.layout == ConcurrencyTable.layout,
          let segment = try? ConcurrencySegment(zone, existing: found)
        {
          concurrency.append(segment)
        } else {
          notes.append((.warn, "the table of concurrency limit \"\(entry.name)\" of version \(inventory.program) has another layout: it begins anew"))
        }
      case .endpoints:
        if entry.layout == EndpointTable.layout, let segment = try? EndpointSegment(existing: found) {
          endpoints = segment
        } else {
          notes.append((.warn, "the table of endpoints of version \(inventory.program) has another layout: it begins anew"))
        }
      case .breakers:
        if entry.layout == BreakerTable.layout, (try? BreakerTable(found.descriptor)) != nil {
          breakers = found
        } else {
          notes.append((.warn, "the circuit breakers of version \(inventory.program) have another layout: they begin closed"))
        }
      case .breakerBell: bell = found
      case .names:
        if entry.layout == NameSegment.layout, let segment = try? NameSegment(existing: found) {
          names = segment
        } else {
          notes.append((.warn, "the table of names of version \(inventory.program) has another layout: names are resolved anew"))
        }
      case .none: notes.append((.warn, "version \(inventory.program) has left a segment of an unknown kind (\(entry.kind)): it is dropped"))
      }
    }
    // Its columns are the rows of the scoreboard: with another one they would have two meanings.
    if board == nil { (endpoints, breakers, concurrency) = (nil, nil, []) }
    let parts = [
      sockets.isEmpty ? nil : "\(sockets.count) listening sockets", board == nil ? nil : "the counters", rates.isEmpty ? nil : "\(rates.count) tables of rate limits",
      endpoints == nil ? nil : "the table of endpoints", names == nil ? nil : "the table of names",
      breakers == nil ? nil : "the circuit breakers",
    ]
    notes.append((.info, "taken over from version \(inventory.program): " + parts.compactMap { $0 }.joined(separator: ", ")))
  }
}

extension Scoreboard {
  /// Frees the rows of workers that are no more; those of workers that still live, though nobody's children, are returned.
  func retireDead() -> [WorkerRow] {
    rows().filter { row in
      if row.processID > 0, Process.exists(row.processID) { return true }
      retire(row.row)
      return false
    }
  }
}
