// WorkerChannel — the worker's end of its channel to the master.
//
// The worker watches `descriptor` in its reactor and, when it is readable, calls `next` until it answers `.none`.

import Kernel

/// What the channel brought.
public enum OrderReceived: ~Copyable {
  /// An order, and the descriptors that came with it.
  case order(WorkerOrder, DescriptorList)
  /// Nothing waits.
  case none
  /// The master has gone (or cannot be understood): drain within the plan's deadline and exit.
  case ended
}

public struct WorkerChannel: ~Copyable {
  let socket: MessageSocket

  /// Takes over the descriptor the process was started with.
  public init(_ descriptor: consuming Descriptor) { socket = MessageSocket(descriptor) }

  /// To watch for input, edge- or level-triggered.
  public var raw: CInt { socket.descriptor.raw }

  /// Lends the descriptor to the reactor.
  public borrowing func withDescriptor<Failure: Error>(_ body: (borrowing Descriptor) throws(Failure) -> Void) throws(Failure) {
    try body(socket.descriptor)
  }

  /// The next order, without waiting.
  public func next() -> OrderReceived {
    switch socket.receive() {
    case .message(let bytes, let descriptors):
      guard let order = WorkerOrder(decoding: bytes) else { return .ended }
      return .order(order, descriptors)
    case .none: return .none
    case .ended: return .ended
    }
  }

  /// Tells the master. False when it has gone.
  @discardableResult
  public func send(_ report: WorkerReport) -> Bool { (try? socket.send(report.encoded)) != nil }
}
