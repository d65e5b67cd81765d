// DescriptorList — several owned descriptors, as they arrive with a message.
//
// Invariant: each position holds an open descriptor that this list owns, or nothing because it was taken.
// (An Array cannot hold values that may not be copied, so the list keeps numbers and is itself not copyable.)

import CLinux

extension Descriptor {
  /// Gives up ownership: the number stays open, and the caller answers for it.
  public consuming func relinquish() -> CInt {
    let raw = raw
    discard self
    return raw
  }

  /// A second descriptor for the same open file, closed on exec.
  public borrowing func duplicate() throws(Errno) -> Descriptor {
    try Descriptor(owning: clx_duplicate(raw))
  }

  /// A descriptor this process was started with: it must be open (else EBADF), and is closed on exec from now on.
  public init(adopting raw: CInt) throws(Errno) {
    guard clx_close_on_exec(raw) == 0 else { throw Errno.current }
    try self.init(owning: raw)
  }

  /// Standard input, output or error, borrowed: a duplicate that is owned.
  public static func standard(_ number: CInt) throws(Errno) -> Descriptor {
    try Descriptor(owning: clx_duplicate(number))
  }
}

/// Owned descriptors by position. What has not been taken is closed with the list.
public struct DescriptorList: ~Copyable {
  private var raws: [CInt] = []

  public init() {}

  init(owning raws: [CInt]) { self.raws = raws }

  /// Positions, taken ones included.
  public var count: Int { raws.count }

  /// The number at `position`, still owned by the list; nil if there is none or it was taken.
  public func raw(at position: Int) -> CInt? {
    raws.indices.contains(position) && raws[position] >= 0 ? raws[position] : nil
  }

  /// Moves the descriptor at `position` out; nil if there is none or it was taken before.
  public mutating func take(_ position: Int) -> Descriptor? {
    guard let raw = raw(at: position) else { return nil }
    raws[position] = -1
    return try? Descriptor(owning: raw)
  }

  public mutating func append(_ descriptor: consuming Descriptor) { raws.append(descriptor.relinquish()) }

  /// Moves everything `other` still owns to the end of this list; taken positions are skipped.
  public mutating func append(contentsOf other: consuming DescriptorList) {
    for position in 0..<other.count {
      if let descriptor = other.take(position) { append(descriptor) }
    }
  }

  deinit {
    for raw in raws where raw >= 0 { close(raw) }
  }
}
