// Bytes go through a pipe from socket to socket, in order, and only while there is something and room.

import CLinux
import Testing

@testable import Kernel

@Suite struct PipeTests {
  /// Two connected sockets.
  private func pair() throws -> (near: CInt, far: CInt) {
    var ends: [CInt] = [-1, -1]
    let kind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let result = unsafe ends.withUnsafeMutableBufferPointer { unsafe socketpair(AF_UNIX, kind, 0, $0.baseAddress) }
    try #require(result == 0)
    return (ends[0], ends[1])
  }

  private func receiveAll(_ descriptor: CInt) -> [UInt8] {
    var all: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = unsafe piece.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
      guard count > 0 else { return all }
      all += piece[..<count]
    }
  }

  @Test func movesBytesInOrder() throws {
    let left = try pair(), right = try pair()
    let writer = Socket(try Descriptor(owning: left.near)), source = Socket(try Descriptor(owning: left.far))
    let sink = Socket(try Descriptor(owning: right.near)), reader = try Descriptor(owning: right.far)
    var pipe = try Pipe(size: 65_536)
    #expect(pipe.capacity >= 4096 && pipe.count == 0)
    let text = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
    _ = writer.send(text.span)
    guard case .moved(let first) = pipe.fill(from: source, limit: 1000) else { throw Errno.current }
    #expect(first == 1000 && pipe.count == 1000)
    // Not a second time before it is empty.
    guard case .blocked = pipe.fill(from: source, limit: 1000) else { throw Errno.current }
    guard case .moved(1000) = pipe.drain(to: sink, hasMore: true) else { throw Errno.current }
    #expect(pipe.count == 0)
    guard case .moved(2000) = pipe.fill(from: source, limit: 1 << 20) else { throw Errno.current }
    guard case .moved(2000) = pipe.drain(to: sink, hasMore: false) else { throw Errno.current }
    #expect(receiveAll(reader.raw) == text)
    guard case .blocked = pipe.fill(from: source, limit: 1) else { throw Errno.current }
  }

  @Test func tellsAnEndFromSilence() throws {
    let left = try pair()
    let writer = Socket(try Descriptor(owning: left.near)), source = Socket(try Descriptor(owning: left.far))
    var pipe = try Pipe(size: 65_536)
    guard case .blocked = pipe.fill(from: source, limit: 10) else { throw Errno.current }
    writer.endSending()
    guard case .ended = pipe.fill(from: source, limit: 10) else { throw Errno.current }
  }
}
