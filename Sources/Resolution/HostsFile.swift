// HostsFile — the addresses that a file such as /etc/hosts gives to names (hosts(5)).

import Kernel

public enum HostsFile {
  /// Bytes of the file that are looked at.
  static let sizeLimit = 8 << 20

  /// Finds the names of `wanted`, which are in lower case and without a dot at the end. What is not understood is passed over.
  public static func addresses(in bytes: [UInt8], of wanted: Set<String>) -> [String: [IPAddress]] {
    var found: [String: [IPAddress]] = [:]
    guard !wanted.isEmpty else { return found }
    for line in bytes.split(separator: 0x0a) {
      let content = line.prefix { $0 != 0x23 }
      let words = content.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }
      guard words.count > 1, words[0].count < 64 else { continue }
      var address: IPAddress?
      for word in words.dropFirst() where word.count < 255 {
        let name = normal(String(decoding: word, as: UTF8.self))
        guard wanted.contains(name) else { continue }
        if address == nil { address = IPAddress(String(decoding: words[0], as: UTF8.self)) }
        guard let address, address.isHost, found[name]?.contains(address) != true, (found[name]?.count ?? 0) < NameState.addressLimit else { continue }
        found[name, default: []].append(address)
      }
    }
    return found
  }

  /// As names are compared.
  public static func normal(_ name: String) -> String {
    let lower = name.lowercased()
    return lower.hasSuffix(".") ? String(lower.dropLast()) : lower
  }
}
