// ServerNameCheck — the certificates for a name that a client asks for, found by table and by looking at every one.
//
// Input: the names of certificates, a line each, blanks between the names; the first digit of a line is the kind of its key.
// An empty line ends them, and what follows is the client's name.

import TLS

func checkServerName(_ bytes: [UInt8]) throws(Violation) {
  let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
  let end = lines.firstIndex { $0.isEmpty } ?? lines.endIndex
  var certificates: [CertificateNames] = []
  for line in lines[..<end].prefix(20) {
    let names = line.dropFirst().split(separator: UInt8(ascii: " ")).prefix(20).map { String(decoding: $0, as: UTF8.self) }
    certificates.append(CertificateNames(names: names.filter { $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f } }, keyKind: Int(line.first ?? 0)))
  }
  guard !certificates.isEmpty else { return }
  let asked = lines[min(end + 1, lines.endIndex)...].joined(separator: [UInt8(ascii: "\n")]).map { $0 }
  let names = ServerNames(certificates)
  let choice = names.choose(asked.span)
  try require(names.sets.indices.contains(choice), "there is no set \(choice)")
  let chosen = names.sets[choice]
  try require(!chosen.isEmpty && chosen.allSatisfy(certificates.indices.contains), "the set is \(chosen)")
  try require(Set(chosen.map { certificates[$0].keyKind }).count == chosen.count, "two of one kind: \(chosen)")
  try require(names.sets[0][0] == 0, "the default is not the first")
  let expected = expectedSet(certificates, asked)
  try require(chosen == (expected ?? names.sets[0]), "\(chosen), expected \(expected ?? names.sets[0])")
}

/// Looks at each certificate in turn. Nil: none serves the name.
private func expectedSet(_ certificates: [CertificateNames], _ asked: [UInt8]) -> [Int]? {
  guard (1...255).contains(asked.count) else { return nil }
  func folded(_ bytes: some Sequence<UInt8>) -> [UInt8] { bytes.map { $0 >= 0x41 && $0 <= 0x5a ? $0 + 0x20 : $0 } }
  var name = folded(asked)
  if name.last == UInt8(ascii: ".") { name.removeLast() }
  let known = certificates.map { $0.names.map { folded($0.utf8) } }
  let exact = known.indices.filter { known[$0].contains(name) && !name.starts(with: Array("*.".utf8)) }
  var wild: [Int] = []
  if let dot = name.firstIndex(of: UInt8(ascii: ".")), dot > 0 {
    let pattern = [UInt8(ascii: "*")] + name[dot...]
    wild = known.indices.filter { known[$0].contains(pattern) }
  }
  let candidates = exact.isEmpty ? wild : exact + wild
  guard !candidates.isEmpty else { return nil }
  var kinds: Set<Int> = []
  return candidates.filter { kinds.insert(certificates[$0].keyKind).inserted }
}
