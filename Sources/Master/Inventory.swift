// Inventory — the list of what a master leaves to the next one: sockets and segments, and by which numbers they are found.
//
// It is written into a sealed memory file, either kept by the service manager beside what it lists (ServiceStore), or handed to
// another program in place of this one (an upgrade). The reader may be of another version: the form has a number of its own, and each
// segment the hash of its layout. What the reader does not know is left, and said.

import Control
import Kernel
import Plan
import SharedState

/// What a segment is.
enum SegmentKind: UInt8 {
  case scoreboard = 1
  case rateZone = 2
  case endpoints = 3
  case breakers = 4
  /// The event counter by which workers are told of changed breakers.
  case breakerBell = 5
  case concurrencyZone = 6
  case names = 7
}

extension ListenerKey {
  mutating func describe(to archive: inout Archive) {
    archive.text(&address)
    archive.number(&port)
    archive.flag(&isUnix)
    archive.flag(&ipv6Only)
    archive.number(&occurrence)
  }
}

struct SocketEntry: Equatable {
  var key = ListenerKey(address: "")
  var port: UInt16 = 0
  var slot = 0
  var isShared = false
  var isActivated = false
  /// By which number it is found.
  var file: Int32 = 0
  /// Its number with the service manager; 0: none.
  var storeNumber = 0

  mutating func describe(to archive: inout Archive) {
    key.describe(to: &archive)
    archive.number(&port)
    archive.number(&slot)
    archive.flag(&isShared)
    archive.flag(&isActivated)
    archive.number(&file)
    archive.number(&storeNumber)
  }
}

struct SegmentEntry: Equatable {
  /// A `SegmentKind`, as far as this program knows it.
  var kind: UInt8 = 0
  /// A zone's name; empty where there is one of its kind.
  var name = ""
  /// A hash over the places of things in it.
  var layout: UInt64 = 0
  var file: Int32 = 0
  var storeNumber = 0

  mutating func describe(to archive: inout Archive) {
    archive.number(&kind)
    archive.text(&name)
    archive.number(&layout)
    archive.number(&file)
    archive.number(&storeNumber)
  }
}

/// A segment that outlives generations.
struct Segment {
  let kind: SegmentKind
  /// A zone's; empty where there is one of its kind.
  let name: String
  let layout: UInt64
  let file: SharedFile
}

extension SocketEntry {
  init(_ socket: OfferedSocket, file: Int32) {
    self.init(
      key: socket.key, port: socket.port, slot: socket.slot, isShared: socket.isShared, isActivated: socket.isActivated, file: file,
      storeNumber: socket.socket.storeNumber)
  }
}

extension SegmentEntry {
  init(_ segment: Segment, file: Int32) {
    self.init(kind: segment.kind.rawValue, name: segment.name, layout: segment.layout, file: file, storeNumber: segment.file.storeNumber)
  }
}

struct Inventory: Equatable {
  static let magic: UInt64 = 0x7972_6f74_6e65_7667  // "gventory" in memory order
  /// Of this form.
  static let version: UInt32 = 1

  /// The version of the program that wrote it.
  var program = ""
  var sockets: [SocketEntry] = []
  var segments: [SegmentEntry] = []
  /// A plan that has nothing but what the segments mean: the zones of the limits.
  var meaning: [UInt8] = []

  init() {}

  init(_ sockets: [SocketEntry], _ segments: [SegmentEntry], meaningOf plan: Plan?) {
    program = Product.version
    self.sockets = sockets
    self.segments = segments
    guard let plan else { return }
    // No certificate or key leaves the process by this way.
    var bare = Plan()
    bare.rateLimit = plan.rateLimit
    bare.concurrencyLimit = plan.concurrencyLimit
    // …nor a password.
    bare.rateLimit.stores = []
    for index in bare.rateLimit.zones.indices {
      // What the table means hangs on whether there is one, not on which.
      if !bare.rateLimit.zones[index].backend.isEmpty { bare.rateLimit.zones[index].backend = "redis:" }
      bare.rateLimit.zones[index].store = -1
    }
    meaning = bare.encoded()
  }

  var encoded: [UInt8] {
    var archive = Archive()
    var copy = self
    copy.describe(to: &archive)
    return archive.bytes
  }

  /// nil when the bytes are no inventory, or one of another form.
  init?(decoding bytes: [UInt8]) {
    var archive = Archive(reading: bytes)
    describe(to: &archive)
    guard archive.isComplete else { return nil }
  }

  mutating func describe(to archive: inout Archive) {
    var magic = Self.magic, version = Self.version
    archive.number(&magic)
    archive.number(&version)
    guard magic == Self.magic, version == Self.version else { return archive.fail() }
    archive.text(&program)
    archive.list(&sockets, blank: SocketEntry()) { $1.describe(to: &$0) }
    archive.list(&segments, blank: SegmentEntry()) { $1.describe(to: &$0) }
    archive.data(&meaning)
  }
}
