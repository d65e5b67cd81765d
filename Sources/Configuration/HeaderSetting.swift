// HeaderSetting — header fields given as an object: `{"Cache-Control": "no-store", "Link": ["<a>", "<b>"]}`.
//
// Invariant: what is kept can be put on the wire as it is. Names are tokens; values have no control characters and no
// blanks at their ends; the fields that frame a message or belong to the connection are the gateway's own.

import Plan

extension Setting {
  /// - Parameter complaint: what is wrong with a name.
  static func headers(
    _ key: String, _ place: Place<[HeaderPlan]>, names complaint: @escaping @Sendable (String) -> String? = { HeaderRules.complaint(name: $0) },
    _ sentence: String
  ) -> Self {
    Setting(
      custom: key, sentence, shape: .headers,
      read: { node, path, owner, reading in
        guard case .mapping(let entries) = node.content else {
          return reading.reject(node.origin, path, "\(path) must be an object of header fields (\(node.found))")
        }
        var headers: [HeaderPlan] = [], seen: Set<String> = []
        for entry in entries {
          if let complaint = complaint(entry.key) {
            reading.reject(entry.origin, path, "\(path): \(JSON.quoted(entry.key)) \(complaint)")
            continue
          }
          let path = "\(path).\(entry.key)"
          reading.origins[path] = entry.value.origin
          if !seen.insert(entry.key.lowercased()).inserted {
            reading.reject(entry.origin, path, "\(path) is given twice (upper and lower case are the same); use a list of values")
          }
          var nodes = [entry.value]
          if case .sequence(let values) = entry.value.content { nodes = values }
          for node in nodes {
            guard let value = plainText(node, path, &reading) else { continue }
            if let complaint = HeaderRules.complaint(value: value) {
              reading.reject(node.origin, path, "\(path) \(complaint)")
            } else {
              headers.append(HeaderPlan(name: entry.key, value: value))
            }
          }
        }
        owner[keyPath: place] = headers
      },
      write: { owner in
        // A name's values follow each other: that is how they were read.
        var members: [JSON.Member] = []
        for header in owner[keyPath: place] {
          guard let last = members.last, last.key == header.name else {
            members.append(JSON.Member(key: header.name, value: .string(header.value)))
            continue
          }
          if case .array(let values) = last.value {
            members[members.count - 1].value = .array(values + [.string(header.value)])
          } else {
            members[members.count - 1].value = .array([last.value, .string(header.value)])
          }
        }
        return .object(members)
      })
  }
}

enum HeaderRules {
  private static let reserved: Set<String> = [
    "connection", "content-length", "date", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
  ]

  static func complaint(name: String) -> String? {
    if name.isEmpty { return "has an empty name" }
    let isToken = name.utf8.allSatisfy { isDigit($0) || isLetter($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
    if !isToken { return "is not a header name (letters, digits and !#$%&'*+-.^_`|~)" }
    return reserved.contains(name.lowercased()) ? "is set by the gateway itself" : nil
  }

  static func complaint(value: String) -> String? {
    if value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }) { return "must not contain control characters" }
    if let first = value.utf8.first, let last = value.utf8.last, [first, last].contains(where: { $0 == 0x20 || $0 == 0x09 }) {
      return "must not begin or end with a blank"
    }
    return nil
  }
}
