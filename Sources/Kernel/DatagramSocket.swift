// DatagramSocket — a connected datagram socket to a local service: a syslog daemon, the journal.
//
// Invariant: sending never waits. A service that has been started anew is connected to again.

import CLinux

/// Sends datagrams to one address; connects when there is something to send.
public struct DatagramSocket: ~Copyable {
  /// One, out of line: it has more than a hundred parts, and the compiler looks at each of them in every function that borrows what this lies in.
  private let addresses: [SocketAddress]
  private var descriptor = Descriptor.none

  public init(to address: SocketAddress) { addresses = [address] }

  /// Sends one datagram. Where nobody listens any more, the socket is connected anew, once.
  /// - Returns: whether the system has taken it; what it does not take at once is not sent.
  public mutating func send(_ bytes: Span<UInt8>) -> Bool {
    for _ in 0..<2 {
      if descriptor.raw < 0, !connect() { return false }
      switch transmit(bytes) {
      case 0: return true
      // Full, or too long: the connection is good.
      case EAGAIN, ENOBUFS, EMSGSIZE: return false
      default: descriptor = .none
      }
    }
    return false
  }

  private mutating func connect() -> Bool {
    guard let address = addresses.first else { return false }
    do throws(Errno) {
      let opened = try Descriptor(owning: clx_datagram_socket(address.family))
      let raw = opened.raw
      guard unsafe address.withSockaddr({ address, length in unsafe CLinux.connect(raw, address, length) }) == 0 else { return false }
      descriptor = opened
      return true
    } catch {
      return false
    }
  }

  /// Returns the number of the error; 0: none.
  private func transmit(_ bytes: Span<UInt8>) -> CInt {
    let raw = descriptor.raw
    return unsafe bytes.withUnsafeBytes { bytes in
      while true {
        if unsafe CLinux.send(raw, bytes.baseAddress, bytes.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0 { return 0 }
        let code = clx_errno()
        if code != EINTR { return code }
      }
    }
  }
}
