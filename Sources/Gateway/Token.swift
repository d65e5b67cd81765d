// Token — what epoll and the queue of pending work keep of a thing: its kind and its handle, in 64 bits.
//
// Invariant: slab indices stay below 2^28, so that the kind fits above them.

import Memory

enum TokenKind: UInt32 { case client, backend, listener, foreign, probe, store }

enum Token {
  @inline(__always)
  static func make(_ kind: TokenKind, _ handle: Handle) -> UInt64 {
    UInt64(handle.generation) << 32 | UInt64(kind.rawValue << 28 | (handle.index & 0x0fff_ffff))
  }

  static func foreign(_ number: UInt32) -> UInt64 { make(.foreign, Handle(index: number, generation: 0)) }
  static func listener(_ position: Int) -> UInt64 { make(.listener, Handle(index: UInt32(truncatingIfNeeded: position), generation: 0)) }

  @inline(__always)
  static func kind(_ token: UInt64) -> TokenKind {
    switch UInt32(truncatingIfNeeded: token) >> 28 {
    case 0: .client
    case 1: .backend
    case 2: .listener
    case 4: .probe
    case 5: .store
    default: .foreign
    }
  }

  @inline(__always)
  static func handle(_ token: UInt64) -> Handle {
    Handle(index: UInt32(truncatingIfNeeded: token) & 0x0fff_ffff, generation: UInt32(truncatingIfNeeded: token >> 32))
  }
}
