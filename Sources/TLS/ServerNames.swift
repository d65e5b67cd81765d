// ServerNames — which certificates serve a name: exact names first, then wildcards of one label (RFC 6125 §6.4.3).
//
// Made once from the names of the certificates. A certificate is meant here by its position; several may serve the same
// name when their keys are of different kinds, and the client's abilities decide between them.

/// What a certificate offers to the choice.
public struct CertificateNames: Sendable {
  /// Lower case; `*.example.com` for every name of one more label.
  public var names: [String]
  /// Of the certificates for one name, only the first of each kind of key can be used.
  public var keyKind: Int

  public init(names: [String], keyKind: Int) {
    self.names = names
    self.keyKind = keyKind
  }
}

/// The certificates of a listener by name.
public struct ServerNames: Sendable {
  /// Positions of certificates, in order; the first is the choice for clients that name nothing known.
  public private(set) var sets: [[Int]] = []
  /// By name; a wildcard under what follows its asterisk, `.example.com`.
  private var exact: [[UInt8]: Int] = [:]
  private var wildcards: [[UInt8]: Int] = [:]

  /// - Parameter certificates: at least one.
  public init(_ certificates: [CertificateNames]) {
    let folded = certificates.map { $0.names.map(Self.folded) }
    func holders(of name: [UInt8]) -> [Int] { folded.indices.filter { folded[$0].contains(name) } }
    func set(_ candidates: [Int]) -> Int {
      var kinds: Set<Int> = []
      let chosen = candidates.filter { kinds.insert(certificates[$0].keyKind).inserted }
      if let known = sets.firstIndex(of: chosen) { return known }
      sets.append(chosen)
      return sets.count - 1
    }
    // The first certificate, and those of other kinds for the same name.
    _ = set([0] + (folded.first?.first.map(holders) ?? []))
    for name in folded.joined() {
      let wildcard = Self.wildcard(over: name).map(holders) ?? []
      if name.starts(with: Array("*.".utf8)) {
        wildcards[Array(name.dropFirst())] = set(holders(of: name))
      } else if exact[name] == nil {
        exact[name] = set(holders(of: name) + wildcard)
      }
    }
  }

  /// Which of `sets` serves `name`, as a client has sent it.
  public func choose(_ name: Span<UInt8>) -> Int { find(name) ?? 0 }

  /// Whether `name` belongs to certificates of which none is among those for `other`.
  public func isElsewhere(_ name: Span<UInt8>, than other: Span<UInt8>) -> Bool {
    if Self.isSame(name, other) { return false }
    guard let mine = find(name) else { return false }
    return !sets[choose(other)].contains(where: sets[mine].contains)
  }

  /// The one that has `name`; nil when no certificate does.
  private func find(_ name: Span<UInt8>) -> Int? {
    // A name has at most 255 bytes; nobody's certificate has a longer one.
    guard name.count > 0, name.count <= 255 else { return nil }
    var folded: [UInt8] = []
    folded.reserveCapacity(name.count)
    for index in name.indices { folded.append(Self.folded(name[index])) }
    if folded.last == UInt8(ascii: ".") { folded.removeLast() }
    if let set = exact[folded] { return set }
    guard let dot = folded.firstIndex(of: UInt8(ascii: ".")), dot > 0 else { return nil }
    return wildcards[Array(folded[dot...])]
  }

  /// `*.example.com` for `www.example.com`.
  private static func wildcard(over name: [UInt8]) -> [UInt8]? {
    guard let dot = name.firstIndex(of: UInt8(ascii: ".")), dot > 0 else { return nil }
    return [UInt8(ascii: "*")] + name[dot...]
  }

  private static func isSame(_ one: Span<UInt8>, _ other: Span<UInt8>) -> Bool {
    guard one.count == other.count else { return false }
    for index in one.indices where folded(one[index]) != folded(other[index]) { return false }
    return true
  }

  private static func folded(_ name: String) -> [UInt8] { name.utf8.map(folded) }
  private static func folded(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte }
}
