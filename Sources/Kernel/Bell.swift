// Bell — wakes every process that watches it.
//
// Nobody reads it, so that each ring is news to all who watch, edge-triggered; what has changed they see in shared memory. It can be
// rung more often than any machine lives to see.

import CLinux

/// An eventfd that several processes hold.
public struct Bell: ~Copyable {
  public let descriptor: Descriptor

  public init() throws(Errno) { descriptor = try Descriptor(owning: clx_bell()) }

  /// The bell that another process has made.
  public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// Wakes those who watch it.
  public func ring() { clx_bell_ring(descriptor.raw) }
}
