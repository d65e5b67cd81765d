// HostTable — which tries of routes apply to a host name, exact names and `*.` wildcards.
//
// Names are compared without regard to case, port and one trailing dot; an IPv6 address by the text between its brackets.
// Invariants: the slots of each kind are a power of two, one of them vacant at least; stored names are in lower case.

import Memory

/// A slot of a hash table of names. (Not private: the compiler, 6.3.1, fails when another file destroys a table of a private type.)
struct HostSlot: BitwiseCopyable {
  var text: UInt32 = 0
  var length: UInt32 = 0
  /// Negative: the slot is vacant.
  var trie: Int32 = -1
}

/// What a host table is made from.
struct HostTableSource {
  var exact: [(name: [UInt8], trie: Int32)] = []
  /// Without the `*.`.
  var wildcards: [(name: [UInt8], trie: Int32)] = []
  /// The trie of the routes for every host.
  var anyHost: Int32 = 0
}

struct HostTable: ~Copyable {
  /// Bytes of a host name (RFC 1035 §2.3.4, with the dot); longer ones belong to no host's routes.
  static let nameLimit = 255

  private let exactSlots: BoundedArray<HostSlot>
  private let wildcardSlots: BoundedArray<HostSlot>
  private let text: BoundedArray<UInt8>
  /// Whether every route is for any host.
  let isEmpty: Bool
  let hasWildcards: Bool

  init(_ source: HostTableSource) {
    var text: [UInt8] = []
    exactSlots = BoundedArray(Self.slots(for: source.exact, &text))
    wildcardSlots = BoundedArray(Self.slots(for: source.wildcards, &text))
    self.text = BoundedArray(text)
    isEmpty = source.exact.isEmpty && source.wildcards.isEmpty
    hasWildcards = !source.wildcards.isEmpty
  }

  private static func slots(for hosts: [(name: [UInt8], trie: Int32)], _ text: inout [UInt8]) -> [HostSlot] {
    var size = 2
    while size < hosts.count * 2 { size *= 2 }
    var slots = [HostSlot](repeating: HostSlot(), count: size)
    for host in hosts {
      var index = Int(truncatingIfNeeded: host.name.span.hostHash >> 32) & (size - 1)
      while slots[index].trie >= 0 { index = (index + 1) & (size - 1) }
      slots[index] = HostSlot(text: UInt32(text.count), length: UInt32(host.name.count), trie: host.trie)
      text += host.name
    }
    return slots
  }

  /// The trie of the routes for exactly this name.
  func exact(_ name: Span<UInt8>) -> Int32? { find(name, in: exactSlots.span) }

  /// The trie of the routes for `*.` and this name.
  func wildcard(_ name: Span<UInt8>) -> Int32? { find(name, in: wildcardSlots.span) }

  private func find(_ name: Span<UInt8>, in slots: Span<HostSlot>) -> Int32? {
    guard name.count > 0 else { return nil }
    let mask = slots.count - 1
    var index = Int(truncatingIfNeeded: name.hostHash >> 32) & mask
    while true {
      let slot = slots[index]
      guard slot.trie >= 0 else { return nil }
      if isEqual(name, slot) { return slot.trie }
      index = (index + 1) & mask
    }
  }

  private func isEqual(_ name: Span<UInt8>, _ slot: HostSlot) -> Bool {
    guard name.count == Int(slot.length) else { return false }
    let text = text.span
    for index in name.indices where name[index].lowercased != text[Int(slot.text) + index] { return false }
    return true
  }

  /// The name in a Host field value or authority: no port, no brackets, no trailing dot. Empty when it is too long for a name.
  @_lifetime(copy host)
  static func name(in host: Span<UInt8>) -> Span<UInt8> {
    var start = 0, end = 0
    if host.count > 0, host[0] == UInt8(ascii: "[") {
      start = 1
      end = 1
      while end < host.count, host[end] != UInt8(ascii: "]") { end += 1 }
    } else {
      while end < host.count, host[end] != .colon { end += 1 }
      if end > 0, host[end - 1] == .dot { end -= 1 }
    }
    guard end - start <= nameLimit else { return host.extracting(first: 0) }
    return host.extracting(start..<end)
  }

  /// Where the label behind the next dot begins. A dot with nothing before it or nothing behind it does not count.
  static func nextLabel(of name: Span<UInt8>, after start: Int) -> Int? {
    var index = max(start, 1)
    while index < name.count - 1 {
      if name[index] == .dot { return index + 1 }
      index += 1
    }
    return nil
  }
}

extension UInt8 {
  /// An ASCII letter in lower case; any other byte as it is.
  var lowercased: UInt8 { (0x41...0x5a).contains(self) ? self | 0x20 : self }
}
