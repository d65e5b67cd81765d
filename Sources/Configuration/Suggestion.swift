// Suggestion — the known word that was probably meant by an unknown one.

enum Suggestion {
  /// What other servers, and people, call a key of ours.
  private static let synonyms: [String: [String]] = [
    "ssl": ["tls"], "https": ["tls"], "certificate": ["certificates", "cert_file"], "ssl_certificate": ["cert_file"], "ssl_certificate_key": ["key_file"],
    "requests_per_second": ["rate"], "rps": ["rate"], "burst": ["capacity"], "burst_size": ["capacity"], "key": ["key_type", "key_file"], "by": ["key_type"],
    "url": ["to", "host"], "target": ["to", "host"], "location": ["path", "to", "routes"], "server": ["upstreams", "host"], "servers": ["endpoints", "upstreams"],
    "backend": ["upstream", "upstreams"], "backends": ["endpoints", "upstreams"], "proxy_pass": ["upstream"], "server_name": ["hosts"], "domain": ["hosts"],
    "domains": ["hosts"], "listen": ["listeners", "port"], "address": ["host"], "code": ["status"], "prefix": ["route_prefix"], "processes": ["workers"],
    "worker_processes": ["workers"], "threads": ["workers"],
  ]

  /// The candidate that others call `word`.
  static func synonym(of word: String, among candidates: [String]) -> String? { synonyms[word.lowercased()]?.first(where: candidates.contains) }

  /// The candidate nearest to `word`, if any is near. A candidate is also near when some of its words are
  /// ("timout" for "connect_timeout_ms"), though a little less so.
  static func nearest(to word: String, among candidates: [String]) -> String? {
    let bytes = Array(word.lowercased().utf8)
    guard !bytes.isEmpty, bytes.count <= 64 else { return nil }
    if let meant = synonym(of: word, among: candidates) { return meant }
    let limit = bytes.count <= 3 ? 1 : max(2, bytes.count / 3)
    var best: (name: String, distance: Int)?
    for candidate in candidates {
      var distance = distance(bytes, Array(candidate.lowercased().utf8))
      let parts = candidate.split(separator: "_")
      if parts.count > 1, bytes.count > 3 {
        for first in parts.indices {
          for last in first..<parts.count where last - first + 1 < parts.count {
            let some = parts[first...last].joined(separator: "_")
            distance = min(distance, self.distance(bytes, Array(some.lowercased().utf8)) + 1)
          }
        }
      }
      if distance <= limit, distance < (best?.distance ?? Int.max) { best = (candidate, distance) }
    }
    return best?.name
  }

  /// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
  static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
    var before: [Int] = []
    var previous = Array(0...b.count)
    for i in 1...a.count {
      var row = [i]
      row.reserveCapacity(b.count + 1)
      for j in 1...b.count {
        var cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
        if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { cost = min(cost, before[j - 2] + 1) }
        row.append(cost)
      }
      before = previous
      previous = row
    }
    return previous[b.count]
  }
}
