// Poll — waiting for a few descriptors, level-triggered: for the master and the tools, where a turn may cost microseconds.

import CLinux

/// A set of descriptors that is built anew for each wait.
public struct Poll {
  private var entries: [pollfd] = []

  public init() {}

  /// Adds a descriptor; its position is the number of those added before.
  public mutating func add(_ raw: CInt, output: Bool = false) {
    entries.append(pollfd(fd: raw, events: Int16(output ? POLLIN | POLLOUT : POLLIN), revents: 0))
  }

  /// Waits up to `milliseconds` (-1: without end) or for a signal.
  public mutating func wait(milliseconds: CInt) {
    let ready = unsafe poll(&entries, nfds_t(entries.count), milliseconds)
    if ready <= 0 { for index in entries.indices { entries[index].revents = 0 } }
  }

  /// Whether the descriptor at `position` has input, an end or an error to show.
  public func isReadable(_ position: Int) -> Bool {
    entries.indices.contains(position) && entries[position].revents & Int16(POLLIN | POLLHUP | POLLERR | POLLNVAL) != 0
  }

  public func isWritable(_ position: Int) -> Bool {
    entries.indices.contains(position) && entries[position].revents & Int16(POLLOUT) != 0
  }

  /// Lets time pass.
  public static func pause(milliseconds: CInt) { _ = poll(nil, 0, milliseconds) }

  static func readable(_ raw: CInt, milliseconds: CInt) -> Bool {
    var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&entry, 1, milliseconds) > 0
  }
}
