// ClientSettings — what a client says of itself when a connection begins, and what it puts up with.

/// How a client's side of a connection is set up.
public struct ClientSettings: Equatable, Sendable {
  /// Streams that will be opened at the same time, if the server allows as many.
  public var maxConcurrentStreams = 100
  /// Body bytes the server may send on a stream before any are given back (SETTINGS_INITIAL_WINDOW_SIZE).
  public var initialWindow = 1 << 20
  /// The longest frame accepted (SETTINGS_MAX_FRAME_SIZE).
  public var maxFrameSize = 16_384
  /// Bytes of the table of header fields (SETTINGS_HEADER_TABLE_SIZE), and the most that is used of the server's.
  public var headerTableSize = 4_096
  /// Names, values and 32 for each field of one header section (SETTINGS_MAX_HEADER_LIST_SIZE).
  public var maxHeaderListSize = 65_536

  public init() {}

  /// Body bytes the server may send over all streams of the connection. Each stream can have its whole window waiting, and as
  /// much again may have been passed on without having been told back yet: so no stream ever waits for another.
  var connectionWindow: Int {
    let (window, overflow) = initialWindow.multipliedReportingOverflow(by: 2 * maxConcurrentStreams)
    return overflow ? Int(Int32.max) : min(max(window, 65_535), Int(Int32.max))
  }
}

/// How a response, or a server, has broken the rules.
public enum ResponseViolation: UInt8, Sendable, BitwiseCopyable {
  /// The response is malformed (RFC 9113 §8.1.1).
  case malformed
  /// Its header section is longer than the limit.
  case tooLarge
}
