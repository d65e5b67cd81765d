// ListenerTable — the listening sockets, which belong to the master for as long as any generation uses their address.
//
// Invariants: an IP address has one SO_REUSEPORT socket per slot, a Unix path one socket for all, and so has an
// address whose only socket a service manager has made. A socket of
// an address is never closed while a generation that uses the address lives, so no connection that waits in
// its queue is lost; when a later plan has fewer workers, the surplus sockets stay and are served by others.
// A claimed socket does not listen before `open`: until then it takes nothing away from those who serve.

import Kernel
import Plan

/// Why an address could not be had.
public struct ListenerFailure: Error, Equatable {
  public let reason: String
  /// The system's reason, as far as there is one.
  public let error: Errno?

  init(reason: String, _ error: Errno? = nil) {
    self.reason = reason
    self.error = error
  }

  /// Two failures are the same when they say the same.
  public static func == (a: ListenerFailure, b: ListenerFailure) -> Bool { a.reason == b.reason }
}

/// What distinguishes one listener of the configuration from another, across reloads.
struct ListenerKey: Hashable {
  var address: String
  var port: UInt16 = 0
  var isUnix = false
  var ipv6Only = false
  /// Tells listeners with the same address and port 0 from each other.
  var occurrence = 0

  /// As it is written in addresses: `127.0.0.1:8080`, `[::1]:8080`, or a path.
  var text: String { isUnix ? address : address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// An owned socket that several places refer to.
final class ListeningSocket {
  let socket: Descriptor
  fileprivate(set) var isListening = false
  /// Under which number the service manager keeps a copy; 0: it does not.
  var storeNumber = 0

  init(_ socket: consuming Descriptor, isListening: Bool = false) {
    self.socket = socket
    self.isListening = isListening
  }
}

/// A socket that this process was given, by a service manager or by the master before it.
struct OfferedSocket {
  let socket: ListeningSocket
  let key: ListenerKey
  let port: UInt16
  let slot: Int
  /// All workers serve it.
  let isShared: Bool
  /// The service manager has made it, and keeps it.
  let isActivated: Bool
}

/// All sockets of one listener, by slot.
final class ListenerSlots {
  let key: ListenerKey
  fileprivate(set) var sockets: [ListeningSocket] = []
  /// What the kernel chose where the configuration says 0.
  fileprivate(set) var port: UInt16
  fileprivate var file: FileFacts?
  /// Each socket is served by all workers, not by the one of its slot.
  fileprivate(set) var isShared: Bool
  /// The service manager has made the sockets: they outlive us, and so does the file of a Unix socket.
  fileprivate(set) var isActivated = false

  fileprivate init(_ key: ListenerKey) {
    self.key = key
    port = key.port
    isShared = key.isUnix
  }

  /// `127.0.0.1:8080`, `[::1]:8080`, `unix:/path`.
  var text: String { ListenerTable.text(key, port) }

  fileprivate func trim() {
    let listening = sockets.count { $0.isListening }
    if listening < sockets.count, listening > 0 { sockets.removeLast(sockets.count - listening) }
  }
}

struct ListenerTable {
  private var entries: [ListenerKey: ListenerSlots] = [:]
  /// Sockets that were handed to this process and that no plan has named yet.
  private var offers: [OfferedSocket] = []
  /// Files of Unix sockets stay when the gateway ends: their sockets are kept for the next one.
  var leavesFiles = false

  /// The keys of a plan's listeners, in their order.
  static func keys(of plan: Plan) -> [ListenerKey] {
    var seen: [ListenerKey: Int] = [:]
    return plan.listeners.map { listener in
      var key: ListenerKey
      switch listener.address {
      case .ip(let host, let port): key = ListenerKey(address: host, port: port, ipv6Only: host.contains(":") && listener.ipv6Only)
      case .unix(let path, _): key = ListenerKey(address: path, isUnix: true)
      }
      let occurrence = seen[key, default: 0]
      seen[key] = occurrence + 1
      // The same fixed address twice is the same listener; port 0 twice asks for two ports.
      if key.port == 0, !key.isUnix { key.occurrence = occurrence }
      return key
    }
  }

  func slots(of key: ListenerKey) -> ListenerSlots? { entries[key] }

  /// Takes sockets that somebody else has made; each is used when a plan is claimed that has its address.
  mutating func offer(_ sockets: [OfferedSocket]) { offers += sockets }

  /// Takes over all sockets of another table, as they were.
  mutating func restore(_ sockets: [OfferedSocket]) {
    offers = sockets
    for key in Set(sockets.map(\.key)) { entries[key] = accept(key) }
  }

  /// Gives up the sockets that no plan wanted; their addresses.
  mutating func dropOffers() -> [String] {
    defer { offers = [] }
    return Set(offers.map { Self.text($0.key, $0.port) }).sorted()
  }

  private mutating func accept(_ key: ListenerKey) -> ListenerSlots? {
    let found = offers.filter { $0.key == key }.sorted { $0.slot < $1.slot }
    guard let first = found.first else { return nil }
    offers.removeAll { $0.key == key }
    // The file of a Unix socket may have been removed, or be another's by now: nobody would reach us.
    if key.isUnix, !BoundSocket.isServed(key.address) { return nil }
    let slots = ListenerSlots(key)
    slots.port = first.port
    slots.isShared = key.isUnix || first.isShared
    slots.isActivated = first.isActivated
    slots.sockets = found.map(\.socket)
    if key.isUnix, !first.isActivated { slots.file = FileFacts(path: key.address) }
    return slots
  }

  /// Every socket, with where it belongs.
  var inventory: [OfferedSocket] {
    entries.values.flatMap { slots in
      slots.sockets.enumerated().map { slot, socket in
        OfferedSocket(socket: socket, key: slots.key, port: slots.port, slot: slot, isShared: slots.isShared, isActivated: slots.isActivated)
      }
    }
  }

  static func text(_ key: ListenerKey, _ port: UInt16) -> String {
    if key.isUnix { return "unix:" + key.address }
    return key.address.contains(":") ? "[\(key.address)]:\(port)" : "\(key.address):\(port)"
  }

  /// Socket slots that a generation with so many workers has to serve.
  func slotCount(of keys: [ListenerKey], workers: Int) -> Int {
    keys.reduce(workers) { max($0, entries[$1].map { $0.isShared ? 1 : $0.sockets.count } ?? 0) }
  }

  /// Binds what the plan needs and is not there yet.
  /// - Parameter attempts: how often to try an address that is in use, 100 ms apart: the workers of a gateway that
  ///   was killed may need a moment to notice.
  mutating func claim(_ plan: Plan, attempts: Int = 1) throws(ListenerFailure) {
    for (listener, key) in zip(plan.listeners, Self.keys(of: plan)) {
      let slots = entries[key] ?? accept(key) ?? ListenerSlots(key)
      do {
        try bind(slots, listener, count: key.isUnix ? 1 : plan.workers, attempts: attempts)
      } catch {
        throw ListenerFailure(reason: "cannot bind \(slots.text): \(Self.text(of: error, key))", error)
      }
      entries[key] = slots
    }
  }

  private func bind(_ slots: ListenerSlots, _ listener: ListenerPlan, count: Int, attempts: Int) throws(Errno) {
    switch listener.address {
    case .unix(let path, let mode):
      guard slots.sockets.isEmpty else { return }
      let socket = try patiently(attempts) { () throws(Errno) in try BoundSocket.bind(unixPath: path, mode: mode) }
      slots.sockets.append(ListeningSocket(socket))
      slots.file = FileFacts(path: path)
    case .ip(let host, _):
      if slots.sockets.isEmpty, slots.port != 0, !entries.values.contains(where: { $0.port == slots.port && !$0.key.isUnix }) {
        try prove(host, slots.port, listener.ipv6Only, attempts)
      }
      while slots.sockets.count < count, !slots.isShared {
        guard let address = SocketAddress(host: host, port: slots.port) else { throw .invalidArgument }
        let socket: Descriptor
        do {
          socket = try BoundSocket.bind(address, shared: true, ipv6Only: listener.ipv6Only)
        } catch {
          guard slots.isActivated else { throw error }
          // Sockets beside those of the service manager take rights that we may not have: all workers share what there is.
          slots.isShared = true
          break
        }
        if slots.port == 0 { slots.port = BoundSocket.port(of: socket) }
        slots.sockets.append(ListeningSocket(socket))
      }
    }
  }

  /// SO_REUSEPORT would let us share an address with a stranger of the same user: a socket without it tells.
  private func prove(_ host: String, _ port: UInt16, _ ipv6Only: Bool, _ attempts: Int) throws(Errno) {
    guard let address = SocketAddress(host: host, port: port) else { throw .invalidArgument }
    _ = try patiently(attempts) { () throws(Errno) in try BoundSocket.bind(address, shared: false, ipv6Only: ipv6Only) }
  }

  private func patiently(_ attempts: Int, _ bind: () throws(Errno) -> Descriptor) throws(Errno) -> Descriptor {
    var left = attempts
    while true {
      do throws(Errno) {
        return try bind()
      } catch {
        left -= 1
        guard error == .addressInUse, left > 0 else { throw error }
        Poll.pause(milliseconds: 100)
      }
    }
  }

  private static func text(of error: Errno, _ key: ListenerKey) -> String {
    switch error {
    case .exists where key.isUnix: "something that is not a socket is there"
    case .addressInUse where key.isUnix: "another process listens there"
    default: error.text
    }
  }

  /// Listens on all sockets of the plan, and applies what may have changed: backlog, mode.
  mutating func open(_ plan: Plan) throws(ListenerFailure) {
    for (listener, key) in zip(plan.listeners, Self.keys(of: plan)) {
      guard let slots = entries[key] else { throw ListenerFailure(reason: "\(key.address) was never bound") }
      if case .unix(let path, let mode) = listener.address, !slots.isActivated { Files.setMode(path, mode) }
      for entry in slots.sockets {
        do {
          try BoundSocket.listen(entry.socket, backlog: listener.backlog)
        } catch {
          throw ListenerFailure(reason: "cannot listen on \(slots.text): \(error.text)", error)
        }
        entry.isListening = true
      }
    }
  }

  /// Closes everything but what the given keys stand for.
  /// - Parameter trim: also what was claimed and does not listen; not while a generation is starting.
  mutating func retain(_ keys: Set<ListenerKey>, trim: Bool) {
    for (key, slots) in entries {
      if keys.contains(key) {
        if trim { slots.trim() }
      } else {
        remove(slots)
        entries[key] = nil
      }
    }
  }

  private func remove(_ slots: ListenerSlots) {
    guard slots.key.isUnix, !leavesFiles, let file = slots.file, let there = FileFacts(path: slots.key.address) else { return }
    if file.device == there.device, file.inode == there.inode { Files.remove(slots.key.address) }
  }

  /// The sockets for the workers of a plan.
  func sockets(of plan: Plan) -> [(listener: Int, slot: Int?, socket: ListeningSocket)] {
    var all: [(listener: Int, slot: Int?, socket: ListeningSocket)] = []
    for (index, key) in Self.keys(of: plan).enumerated() {
      guard let slots = entries[key] else { continue }
      for (slot, socket) in slots.sockets.enumerated() { all.append((index, slots.isShared ? nil : slot, socket)) }
    }
    return all
  }
}
