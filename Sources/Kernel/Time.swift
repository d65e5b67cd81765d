// Time — the clocks, for code that needs them now and then (the reactor has its own, sampled once a turn).

import CLinux

public enum Time {
  /// Milliseconds of the monotonic clock.
  public static var milliseconds: Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  /// Seconds since the epoch.
  public static var wallSeconds: Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec)
  }
}
