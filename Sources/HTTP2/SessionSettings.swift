// SessionSettings — what a server says of itself when a connection begins, and what it puts up with.

/// How a server's side of a connection is set up.
public struct SessionSettings: Equatable, Sendable {
  /// Streams the client may have open at the same time (SETTINGS_MAX_CONCURRENT_STREAMS).
  public var maxConcurrentStreams = 100
  /// Body bytes the client may send on a stream before any are given back (SETTINGS_INITIAL_WINDOW_SIZE).
  public var initialWindow = 65_535
  /// …and over all streams of the connection.
  public var connectionWindow = 1 << 20
  /// The longest frame accepted (SETTINGS_MAX_FRAME_SIZE).
  public var maxFrameSize = 16_384
  /// Names, values and 32 for each field of one header section (SETTINGS_MAX_HEADER_LIST_SIZE).
  public var maxHeaderListSize = 65_536
  /// Whether the client may ask for other protocols by CONNECT (RFC 8441); without it such requests are malformed.
  public var connectProtocol = false
  public var floods = FloodLimits()

  public init() {}
}

/// What one client may send within `FloodGuard.window` before it counts as an attack. 0: any number.
public struct FloodLimits: Equatable, Sendable {
  /// Streams reset, by the client or because of its errors.
  public var resets = 100
  /// SETTINGS frames, acknowledgements aside.
  public var settings = 100
  /// PING frames, acknowledgements aside.
  public var pings = 50
  /// DATA, HEADERS and CONTINUATION frames without content that do not end a stream.
  public var emptyFrames = 100
  /// WINDOW_UPDATE frames that no DATA frame of a useful size had called for.
  public var windowUpdates = 1_000
  /// PRIORITY and PRIORITY_UPDATE frames.
  public var priorities = 1_000
  /// CONTINUATION frames of one header section; there is no time to it.
  public var continuations = 8

  public init() {}
}

/// A kind of flood.
public enum Flood: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  case resets, settings, pings, emptyFrames, windowUpdates, priorities, continuations
}
