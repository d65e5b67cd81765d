// MessageSocket — one end of a pair that exchanges whole messages, with descriptors attached.
//
// A message arrives complete or not at all. Both ends are non-blocking; `awaitInput` waits where waiting is wanted.

import CLinux

/// What one receive brought.
public enum ReceivedMessage: ~Copyable {
  case message([UInt8], DescriptorList)
  /// Nothing waits.
  case none
  /// The other end is closed, or what came was cut off and cannot be trusted.
  case ended
}

/// The two ends of a new channel.
@frozen
public struct MessageSocketPair: ~Copyable {
  public var ours: MessageSocket
  public var theirs: MessageSocket
}

public struct MessageSocket: ~Copyable {
  /// Bytes of the longest message.
  public static let longest = 64 * 1024
  /// Descriptors that one message may carry.
  public static let mostDescriptors = 250

  public let descriptor: Descriptor

  public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// Two connected ends; both close on exec.
  public static func pair() throws(Errno) -> MessageSocketPair {
    var ends: [CInt] = [-1, -1]
    guard unsafe clx_message_pair(&ends) == 0 else { throw Errno.current }
    let first = try Descriptor(owning: ends[0])
    let second = try Descriptor(owning: ends[1])
    return MessageSocketPair(ours: MessageSocket(first), theirs: MessageSocket(second))
  }

  /// Sends one message with duplicates of the open files `descriptors`.
  /// - Throws: `.wouldBlock` when the other end does not read; `.connectionReset` when it has gone.
  public func send(_ bytes: [UInt8], descriptors: [CInt] = []) throws(Errno) {
    let sent = unsafe bytes.withUnsafeBytes { bytes in
      unsafe descriptors.withUnsafeBufferPointer { list in
        unsafe clx_message_send(descriptor.raw, bytes.baseAddress, bytes.count, list.baseAddress, list.count)
      }
    }
    guard sent == bytes.count else { throw Errno.current }
  }

  /// Receives the next message, without waiting.
  public func receive() -> ReceivedMessage {
    var bytes = [UInt8](repeating: 0, count: Self.longest)
    var raws = [CInt](repeating: -1, count: Self.mostDescriptors)
    var descriptorCount = 0
    var truncated = false
    let count = unsafe bytes.withUnsafeMutableBytes { bytes in
      unsafe raws.withUnsafeMutableBufferPointer { raws in
        unsafe clx_message_receive(descriptor.raw, bytes.baseAddress, bytes.count, raws.baseAddress, raws.count, &descriptorCount, &truncated)
      }
    }
    if count < 0 { return Errno.current == .wouldBlock ? .none : .ended }
    let descriptors = DescriptorList(owning: Array(raws.prefix(descriptorCount)))
    guard count > 0, !truncated else { return .ended }
    return .message(Array(bytes.prefix(count)), descriptors)
  }

  /// Waits until a message, or the end, can be received; false after `milliseconds` (-1: never).
  public func awaitInput(milliseconds: CInt) -> Bool { Poll.readable(descriptor.raw, milliseconds: milliseconds) }
}
