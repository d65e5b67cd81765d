// Tunnel — what an exchange keeps when it carries a WebSocket between a client and a backend.
//
// Invariant: from the request for the WebSocket to the end of its exchange there is exactly one, named by `Exchange.session`.
// Bytes of either direction are passed on as they are; only the borders of frames are followed, because a frame of our own may
// stand nowhere else.

import Kernel
import Memory
import WebSocket

/// What is true of a tunnel.
struct TunnelFlags: OptionSet, BitwiseCopyable {
  let rawValue: UInt8
  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Each side has finished sending (FIN).
  static var clientEnded: TunnelFlags { TunnelFlags(rawValue: 1) }
  static var backendEnded: TunnelFlags { TunnelFlags(rawValue: 2) }
  /// Nothing more goes down to the client, or up to the backend; what waits for it is still sent.
  static var downOver: TunnelFlags { TunnelFlags(rawValue: 4) }
  static var upOver: TunnelFlags { TunnelFlags(rawValue: 8) }
  /// …and each has been told so (our FIN).
  static var clientTold: TunnelFlags { TunnelFlags(rawValue: 16) }
  static var backendTold: TunnelFlags { TunnelFlags(rawValue: 32) }
  /// The tunnel is being closed from here, each direction at its next boundary.
  static var closing: TunnelFlags { TunnelFlags(rawValue: 64) }
}

/// The state of one tunnel.
struct Tunnel: BitwiseCopyable {
  /// The key of the handshake: the backend must prove that it has read it.
  let key: InlineArray<24, UInt8>
  var flags = TunnelFlags()
  /// The frames on their way to the client, and to the backend.
  var down = FrameTracker()
  var up = FrameTracker()
  /// Milliseconds of the monotonic clock when bytes last came from the backend and from the client, and of the last ping.
  var lastDown: Int64 = 0
  var lastUp: Int64 = 0
  var lastPing: Int64 = 0
  /// When it is cut off at the latest; 0: not settled yet.
  var endBy: Int64 = 0

  init(key: InlineArray<24, UInt8>) { self.key = key }
}
