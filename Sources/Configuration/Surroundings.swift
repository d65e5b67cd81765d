// Surroundings — what the configuration asks of the machine: addresses of names, accounts, processors, files.
//
// Everything outside the text goes through here, so that tests and fuzzing can stand in for it.

import Glibc
import Kernel

/// The machine as the configuration sees it.
public struct Surroundings: Sendable {
  /// Literal addresses of a host name, the preferred first; or why there are none.
  public var resolve: @Sendable (String) -> Resolution
  /// A complaint about a user and group (either may be empty); nil when they exist.
  public var accountComplaint: @Sendable (_ user: String, _ group: String) -> String?
  /// A path relative to the working directory made absolute.
  public var absolute: @Sendable (String) -> String
  /// Processors that this process may use; at least 1.
  public var processors: @Sendable () -> Int
  /// What is in a file.
  public var read: @Sendable (String) -> Contents
  /// Seconds since the epoch.
  public var now: @Sendable () -> Int64
  /// Why a path is no directory; nil when it is one, or leads to one.
  public var folderComplaint: @Sendable (String) -> String? = { _ in nil }
  /// Why a file cannot be written under a path, so far as its folders tell: those that are missing are made.
  public var fileComplaint: @Sendable (_ path: String) -> String? = { _ in nil }
  /// Where a file of the authorities that the system trusts may be, the first that exists counting.
  public var systemAuthorities: @Sendable () -> [String] = { Surroundings.usualAuthorities }

  /// Debian, Fedora, openSUSE, Alpine.
  public static let usualAuthorities = [
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
  ]

  public enum Resolution: Equatable, Sendable {
    case addresses([String])
    case failed(String)
  }

  public enum Contents: Equatable, Sendable {
    case bytes([UInt8])
    case failed(String)
    /// There is no machine to ask.
    case unknown
  }

  public init(
    resolve: @escaping @Sendable (String) -> Resolution, accountComplaint: @escaping @Sendable (String, String) -> String?,
    absolute: @escaping @Sendable (String) -> String, processors: @escaping @Sendable () -> Int,
    read: @escaping @Sendable (String) -> Contents = { _ in .unknown }, now: @escaping @Sendable () -> Int64 = { 0 }
  ) {
    self.resolve = resolve
    self.accountComplaint = accountComplaint
    self.absolute = absolute
    self.processors = processors
    self.read = read
    self.now = now
  }

  /// This machine.
  public static let machine: Surroundings = {
    var machine = plainMachine
    machine.folderComplaint = { path in
      guard let facts = FileFacts(path: path) else { return "does not exist" }
      return facts.kind == .directory || facts.kind == .symbolicLink ? nil : "is not a directory"
    }
    machine.fileComplaint = { path in
      if FileFacts(path: path)?.kind == .directory { return "is a directory" }
      var folder = path
      repeat {
        folder = Files.directory(of: folder)
        guard let facts = FileFacts(path: folder) else { continue }
        return facts.kind == .directory || facts.kind == .symbolicLink ? nil : "cannot be written: \(folder) is not a directory"
      } while folder != "/" && folder != "." && !folder.isEmpty
      return nil
    }
    // The variable that OpenSSL's own programs heed.
    machine.systemAuthorities = { Process.environment("SSL_CERT_FILE").map { [Files.absolute($0)] } ?? usualAuthorities }
    return machine
  }()

  private static let plainMachine = Surroundings(
    resolve: { lookUp($0) },
    accountComplaint: { user, group in
      do throws(IdentityError) {
        _ = try Identity.named(user: user, group: group)
        return nil
      } catch {
        return error.text
      }
    },
    absolute: { Files.absolute($0) },
    processors: { Process.processors },
    read: { FileText.certificate($0) },
    now: { Time.wallSeconds })

  /// No machine: names resolve to a documentation address (RFC 5737), accounts exist, there are four processors.
  public static let none = Surroundings(
    resolve: { _ in .addresses(["192.0.2.1"]) }, accountComplaint: { _, _ in nil },
    absolute: { $0.hasPrefix("/") ? $0 : "/" + $0 }, processors: { 4 })

  /// Asks the system's resolver; IPv4 before IPv6, each in the resolver's order.
  private static func lookUp(_ name: String) -> Resolution {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    unsafe hints.ai_family = AF_UNSPEC
    var list: UnsafeMutablePointer<addrinfo>?
    let status = unsafe getaddrinfo(name, nil, &hints, &list)
    guard status == 0 else { return unsafe .failed(String(cString: gai_strerror(status))) }
    defer { unsafe freeaddrinfo(list) }
    var v4: [String] = [], v6: [String] = []
    var next = unsafe list
    while let entry = unsafe next {
      unsafe next = entry.pointee.ai_next
      var text = [CChar](repeating: 0, count: 64)
      guard
        unsafe getnameinfo(entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
      else { continue }
      let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      // A link-local address with its zone cannot be carried in a plan.
      if HostSyntax.isIPv4(address) {
        if !v4.contains(address) { v4.append(address) }
      } else if HostSyntax.isIPv6(address), !v6.contains(address) {
        v6.append(address)
      }
    }
    return v4.isEmpty && v6.isEmpty ? .failed("no usable address") : .addresses(v4 + v6)
  }
}
