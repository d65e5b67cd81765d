// ServiceStore — copies of sockets and segments that the service manager keeps (FDSTORE of sd_notify(3)), so that a restart
// of the service, or one after a crash, loses neither a connection that waits in a queue nor a bucket.
//
// Each file has a name with a number, `gateway-7`; a list of all, `gateway-list-8`, is an Inventory in a sealed memory file. A new list
// is stored before the one before it and what nobody needs any more are removed: at any moment there is a list, and all that it names.

import Control
import Kernel
import Plan
import SharedState

struct ServiceStore {
  private static let filePrefix = "gateway-"
  private static let listPrefix = "gateway-list-"

  private var nextNumber = 1
  /// Numbers of files that are with the service manager.
  private var stored: Set<Int> = []
  /// The number of the list that is with it; 0: none.
  private var list = 0

  init() {}

  /// Takes what an earlier master has left out of `files`; the rest are sockets of socket units.
  mutating func restore(_ files: [NamedFile]) -> Inheritance {
    var inheritance = Inheritance()
    var kept: [Int: SharedFile] = [:]
    var lists: [Int: SharedFile] = [:]
    for entry in files {
      if let number = Self.number(entry.name, Self.listPrefix) {
        lists[number] = entry.file
      } else if let number = Self.number(entry.name, Self.filePrefix) {
        kept[number] = entry.file
      } else {
        inheritance.activated.append(entry)
      }
    }
    stored = Set(kept.keys)
    nextNumber = max(kept.keys.max() ?? 0, lists.keys.max() ?? 0) + 1
    for number in lists.keys.sorted().reversed() {
      guard list == 0, let file = lists[number], let bytes = try? MemoryFile.contents(of: file.descriptor), let inventory = Inventory(decoding: bytes) else {
        remove(Self.listPrefix, number)
        continue
      }
      list = number
      inheritance.take(inventory) { kept[Int($0)] }
    }
    if list == 0, !kept.isEmpty { inheritance.notes.append((.warn, "what an earlier version has left with the service manager cannot be read: it is dropped")) }
    return inheritance
  }

  /// Brings what the service manager keeps up to date.
  mutating func keep(sockets: [OfferedSocket], segments: [Segment], plan: Plan?) {
    var present: Set<Int> = []
    for entry in sockets {
      entry.socket.storeNumber = put(entry.socket.socket.raw, entry.socket.storeNumber)
      present.insert(entry.socket.storeNumber)
    }
    for entry in segments {
      entry.file.storeNumber = put(entry.file.descriptor.raw, entry.file.storeNumber)
      present.insert(entry.file.storeNumber)
    }
    let inventory = Inventory(
      sockets.map { SocketEntry($0, file: Int32(clamping: $0.socket.storeNumber)) },
      segments.map { SegmentEntry($0, file: Int32(clamping: $0.file.storeNumber)) }, meaningOf: plan)
    let encoded = inventory.encoded
    if encoded == current, present == stored { return }
    if let file = try? MemoryFile.sealed(encoded, name: "gateway list") {
      let old = list
      list = nextNumber
      nextNumber += 1
      ServiceNotice.send(["FDSTORE=1", "FDNAME=\(Self.listPrefix)\(list)", "FDPOLL=0"], file: file.raw)
      if old > 0 { remove(Self.listPrefix, old) }
      current = encoded
    }
    for number in stored.subtracting(present) { remove(Self.filePrefix, number) }
    stored = present
  }

  /// What the program that takes this one's place goes on with.
  mutating func describe(to archive: inout Archive) {
    var numbers = stored.sorted()
    archive.number(&nextNumber)
    archive.number(&list)
    archive.list(&numbers, blank: 0) { $0.number(&$1) }
    if nextNumber < 1 || list < 0 { archive.fail() }
    stored = Set(numbers)
  }

  /// The list as it is with the service manager.
  private var current: [UInt8] = []

  private mutating func put(_ raw: CInt, _ number: Int) -> Int {
    if stored.contains(number) { return number }
    let number = nextNumber
    nextNumber += 1
    ServiceNotice.send(["FDSTORE=1", "FDNAME=\(Self.filePrefix)\(number)", "FDPOLL=0"], file: raw)
    stored.insert(number)
    return number
  }

  private func remove(_ prefix: String, _ number: Int) { ServiceNotice.send(["FDSTOREREMOVE=1", "FDNAME=\(prefix)\(number)"]) }

  private static func number(_ name: String, _ prefix: String) -> Int? {
    guard name.hasPrefix(prefix), case let digits = name.dropFirst(prefix.count), digits.allSatisfy(\.isASCII) else { return nil }
    return Int(digits).flatMap { $0 > 0 ? $0 : nil }
  }
}

extension Master {
  /// Leaves copies of what should outlive us with the service manager.
  func keepWithServiceManager() {
    guard ServiceNotice.isHeard, !supervisor.isStopping, takeover == nil else { return }
    let record = supervisor.serving.flatMap { generations[$0] }
    store.keep(sockets: listeners.inventory.filter { !$0.isActivated }, segments: segments(of: record), plan: record?.plan)
  }

  /// The segments of a generation, the scoreboard first.
  func segments(of record: GenerationRecord?) -> [Segment] {
    [Segment(kind: .scoreboard, name: "", layout: Scoreboard.layout, file: boardFile)]
      + (record?.rates ?? []).map { Segment(kind: .rateZone, name: $0.zone.name, layout: RateTable.layout, file: $0.file) }
      + (record?.concurrency ?? []).map { Segment(kind: .concurrencyZone, name: $0.zone.name, layout: ConcurrencyTable.layout, file: $0.file) }
      + (record?.endpoints.map { [Segment(kind: .endpoints, name: "", layout: EndpointTable.layout, file: $0.file)] } ?? [])
      + (record?.names.map { [Segment(kind: .names, name: "", layout: NameSegment.layout, file: $0.file)] } ?? [])
      + (breakers.files.map {
        [
          Segment(kind: .breakers, name: "", layout: BreakerTable.layout, file: $0.table), Segment(kind: .breakerBell, name: "", layout: 1, file: $0.bell),
        ]
      } ?? [])
  }
}
