// ServiceSockets — descriptors that the service manager passes at the start (sd_listen_fds(3)): sockets of socket units,
// and what an earlier master has left with it (see ServiceStore).
//
// Invariant: each descriptor is owned from here on, closed on exec, and either used or closed with a word in the log.

import CSystemd
import Glibc
import Kernel
import Plan

/// An open file that several places refer to.
final class SharedFile {
  let descriptor: Descriptor
  /// Under which number the service manager keeps a copy; 0: it does not.
  var storeNumber = 0

  init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
}

/// A descriptor and what the service manager calls it.
struct NamedFile {
  let name: String
  let file: SharedFile
}

enum ServiceSockets {
  /// Takes what came with the start. The second call finds nothing.
  static func take() -> [NamedFile] {
    var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    let count = unsafe sd_listen_fds_with_names(1, &names)
    guard count > 0 else { return [] }
    defer { unsafe free(names) }
    var files: [NamedFile] = []
    for position in 0..<Int(count) {
      let text = unsafe names?[position]
      let name = unsafe text.map { unsafe String(cString: $0) } ?? "unknown"
      unsafe free(text)
      guard let descriptor = try? Descriptor(adopting: CInt(position) + SD_LISTEN_FDS_START) else { continue }
      files.append(NamedFile(name: name, file: SharedFile(descriptor)))
    }
    return files
  }

  /// The sockets of socket units as a plan's listeners: by the listener's name, else by its address.
  /// - Returns: the sockets, and what is odd about the rest.
  static func match(_ files: [NamedFile], _ plan: Plan) -> (sockets: [OfferedSocket], warnings: [String]) {
    let keys = ListenerTable.keys(of: plan)
    var sockets: [OfferedSocket] = []
    var warnings: [String] = []
    var counts: [ListenerKey: Int] = [:]
    for entry in files {
      guard let facts = SocketFacts(entry.file.descriptor), let own = try? entry.file.descriptor.duplicate() else {
        warnings.append("the service manager has passed \"\(entry.name)\", which is no stream socket: it is closed")
        continue
      }
      let named = plan.listeners.firstIndex { $0.name == entry.name }
      let found = named ?? keys.firstIndex { isAt(facts.address, $0) }
      guard let found else {
        warnings.append("the service manager has passed the socket \"\(entry.name)\" (\(facts.address.description)), which is no listener of the configuration: it is closed")
        continue
      }
      if named != nil, !isAt(facts.address, keys[found]) {
        warnings.append("the socket \"\(entry.name)\" that the service manager has passed is at \(facts.address.description), not where listener \"\(entry.name)\" is configured: it is used")
      }
      guard (try? BoundSocket.prepare(own, isUnix: facts.address.isUnix)) != nil else { continue }
      let slot = counts[keys[found], default: 0]
      counts[keys[found]] = slot + 1
      sockets.append(
        OfferedSocket(
          socket: ListeningSocket(own, isListening: facts.isListening), key: keys[found], port: facts.address.port, slot: slot,
          isShared: !facts.isReusePort, isActivated: true))
    }
    return (sockets, warnings)
  }

  private static func isAt(_ address: SocketAddress, _ key: ListenerKey) -> Bool {
    if key.isUnix { return address.isUnix && address.host == key.address }
    guard let wanted = SocketAddress(host: key.address, port: key.port) else { return false }
    return key.port == 0 ? false : address.host == wanted.host && address.port == wanted.port && address.family == wanted.family
  }
}
