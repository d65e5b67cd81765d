// Backoff — how long a worker slot waits before its next attempt.
//
// The first death costs no wait; deaths in a row wait 100 ms, 200 ms, … up to 10 s; a worker that was
// healthy for 30 s begins anew.

/// The back-off of one worker slot. Milliseconds throughout.
public struct Backoff: Equatable, Sendable {
  public static let first: Int64 = 100
  public static let longest: Int64 = 10_000
  public static let healthy: Int64 = 30_000

  var failures = 0

  public init() {}

  /// The wait after one more death of a worker that had been ready for `readyFor` (0: it never was).
  public mutating func next(readyFor: Int64) -> Int64 {
    if readyFor >= Self.healthy { failures = 0 }
    defer { failures = min(failures + 1, 32) }
    guard failures > 0 else { return 0 }
    return failures > 16 ? Self.longest : min(Self.first << Int64(failures - 1), Self.longest)
  }
}
