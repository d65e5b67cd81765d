// SocketAddress — where a socket is bound or connected: IPv4, IPv6 or a Unix path.
//
// Invariant: `length` bytes of `storage` are a valid sockaddr of its family. Literals are strict: dotted
// quads of four decimal numbers, IPv6 as inet_pton reads it; no names are resolved here.

import CLinux

/// A socket address.
public struct SocketAddress: Sendable, Equatable {
  @usableFromInline var storage = sockaddr_storage()
  @usableFromInline var length: socklen_t

  /// An IPv4 or IPv6 literal (without brackets) and a port; nil when `host` is neither.
  public init?(host: String, port: UInt16) {
    // The C functions would read up to it and call that an address.
    guard !host.utf8.contains(0) else { return nil }
    var v4 = sockaddr_in()
    var v6 = sockaddr_in6()
    if unsafe inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
      v4.sin_family = sa_family_t(AF_INET)
      v4.sin_port = port.bigEndian
      length = socklen_t(MemoryLayout<sockaddr_in>.size)
      store(v4)
    } else if unsafe inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 {
      v6.sin6_family = sa_family_t(AF_INET6)
      v6.sin6_port = port.bigEndian
      length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      store(v6)
    } else {
      return nil
    }
  }

  /// An IPv4 address, as a number, and a port.
  public init(ipv4: UInt32, port: UInt16) {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = ipv4.bigEndian
    length = socklen_t(MemoryLayout<sockaddr_in>.size)
    store(address)
  }

  /// An IPv6 address, as two numbers, and a port.
  public init(ipv6 high: UInt64, _ low: UInt64, port: UInt16) {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = port.bigEndian
    unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { bytes in
      unsafe bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
      unsafe bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    store(address)
  }

  /// The address of a Unix socket; nil when `path` is empty, contains a zero byte or is longer than 107 bytes.
  public init?(unixPath path: String) {
    var address = sockaddr_un()
    let bytes = Array(path.utf8)
    guard !bytes.isEmpty, bytes.count < 108, !bytes.contains(0) else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    length = socklen_t(MemoryLayout<sockaddr_un>.size)
    store(address)
  }

  /// Takes the first `length` bytes that a system call stored in `storage`.
  @usableFromInline
  init(storage: sockaddr_storage, length: socklen_t) {
    self.storage = storage
    self.length = min(length, socklen_t(MemoryLayout<sockaddr_storage>.size))
  }

  private mutating func store<Address>(_ address: Address) {
    unsafe withUnsafeMutableBytes(of: &storage) { target in
      unsafe withUnsafeBytes(of: address) { unsafe target.copyMemory(from: $0) }
    }
  }

  public var family: CInt { CInt(storage.ss_family) }
  public var isIPv6: Bool { family == AF_INET6 }
  public var isUnix: Bool { family == AF_UNIX }

  /// The port; 0 for a Unix socket.
  public var port: UInt16 {
    // sin_port and sin6_port stand at the same offset.
    guard !isUnix else { return 0 }
    return unsafe withUnsafeBytes(of: storage) { unsafe UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self)) }
  }

  /// The address without its port as text: `127.0.0.1`, `::1`, or the path. IPv4 mapped into IPv6 reads as IPv4.
  public var host: String {
    if isUnix {
      return unsafe withUnsafeBytes(of: storage) { bytes in
        let path = unsafe bytes.dropFirst(2).prefix { $0 != 0 }
        return unsafe String(decoding: path, as: UTF8.self)
      }
    }
    let text = PeerText(self)
    let span = text.span
    var bytes: [UInt8] = []
    for index in span.indices { bytes.append(span[index]) }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// `127.0.0.1:80`, `[::1]:80`, or `unix:/path`.
  public var description: String {
    if isUnix { return "unix:" + host }
    return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }

  /// Lends the address to a system call.
  @inlinable
  func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    unsafe withUnsafePointer(to: storage) { pointer in
      unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), length)
    }
  }

  public static func == (a: SocketAddress, b: SocketAddress) -> Bool {
    guard a.length == b.length else { return false }
    return unsafe withUnsafeBytes(of: a.storage) { left in
      unsafe withUnsafeBytes(of: b.storage) { right in
        for index in 0..<Int(a.length) where unsafe left[index] != right[index] { return false }
        return true
      }
    }
  }
}

/// A peer's address as text without its port, formatted once per connection and kept in place.
public struct PeerText: BitwiseCopyable, Sendable {
  // 45 bytes hold the longest IPv6 text.
  @usableFromInline var bytes = InlineArray<46, UInt8>(repeating: 0)
  @usableFromInline var count: UInt8 = 0
  private var isIPv6 = false
  private var isIPv4 = false
  private var high: UInt64 = 0
  private var low: UInt64 = 0

  /// The address as a number where it is IPv6, and not IPv4 mapped into it.
  public var ipv6: (high: UInt64, low: UInt64)? { isIPv6 ? (high, low) : nil }
  /// …and where it is IPv4, or that.
  public var ipv4: UInt32? { isIPv4 ? UInt32(truncatingIfNeeded: low) : nil }

  /// Stands for a peer on a Unix socket.
  public static var unix: PeerText {
    var storage = sockaddr_storage()
    storage.ss_family = sa_family_t(AF_UNIX)
    return PeerText(SocketAddress(storage: storage, length: 2))
  }

  /// The text of `address`; `unix:` for a peer on a Unix socket.
  public init(_ address: SocketAddress) {
    let text: InlineArray<47, CChar> = {
      var text = InlineArray<47, CChar>(repeating: 0)
      var output = text.mutableSpan
      unsafe output.withUnsafeMutableBufferPointer { buffer in
        unsafe withUnsafeBytes(of: address.storage) { storage in
          switch CInt(address.storage.ss_family) {
          case AF_INET: unsafe _ = inet_ntop(AF_INET, storage.baseAddress! + 4, buffer.baseAddress!, socklen_t(buffer.count))
          case AF_INET6:
            let start = unsafe storage.baseAddress! + 8
            if unsafe clx_is_v4_mapped(start) != 0 {
              unsafe _ = inet_ntop(AF_INET, start + 12, buffer.baseAddress!, socklen_t(buffer.count))
            } else {
              unsafe _ = inet_ntop(AF_INET6, start, buffer.baseAddress!, socklen_t(buffer.count))
            }
          default:
            for (index, byte) in "unix:".utf8.enumerated() { unsafe buffer[index] = CChar(bitPattern: byte) }
          }
        }
      }
      return text
    }()
    unsafe withUnsafeBytes(of: address.storage) { storage in
      switch CInt(address.storage.ss_family) {
      case AF_INET:
        isIPv4 = true
        unsafe low = UInt64(UInt32(bigEndian: storage.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
      case AF_INET6 where unsafe clx_is_v4_mapped(storage.baseAddress! + 8) != 0:
        isIPv4 = true
        unsafe low = UInt64(UInt32(bigEndian: storage.loadUnaligned(fromByteOffset: 20, as: UInt32.self)))
      case AF_INET6:
        isIPv6 = true
        unsafe high = UInt64(bigEndian: storage.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        unsafe low = UInt64(bigEndian: storage.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
      default: break
      }
    }
    for index in bytes.indices where text[index] != 0 && Int(count) == index {
      bytes[index] = UInt8(bitPattern: text[index])
      count += 1
    }
  }

  /// The text.
  @inlinable
  public var span: Span<UInt8> {
    @_lifetime(borrow self)
    borrowing get { bytes.span.extracting(first: Int(count)) }
  }
}

extension PeerText: CustomStringConvertible {
  public var description: String {
    var text: [UInt8] = []
    for index in span.indices { text.append(span[index]) }
    return String(decoding: text, as: UTF8.self)
  }
}
