// CorpusTests — every input that was ever worth keeping goes through its check again.

import FuzzTargets
import Glibc
import Testing

@Suite struct CorpusTests {
  @Test(arguments: FuzzTarget.allCases)
  func everyInputPasses(_ target: FuzzTarget) throws {
    let folder = corpusFolder + target.rawValue
    let names = fileNames(in: folder)
    try #require(names.count >= 12, "the corpus of \(target.rawValue) is missing")
    for name in names {
      let bytes = try #require(contents(of: folder + "/" + name))
      #expect(throws: Never.self, "\(folder)/\(name)") { try target.check(bytes) }
    }
  }

  /// What is not in a corpus: nothing, a line end, and every single byte.
  @Test(arguments: FuzzTarget.allCases)
  func shortInputsPass(_ target: FuzzTarget) throws {
    try target.check([])
    for byte in UInt8.min...UInt8.max {
      try target.check([byte])
      try target.check([byte, 0x0d, 0x0a])
    }
  }

  /// Inputs of the corpora, changed a little.
  @Test(arguments: FuzzTarget.allCases)
  func changedInputsPass(_ target: FuzzTarget) throws {
    var state: UInt64 = 1
    func roll(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let folder = corpusFolder + target.rawValue
    for name in fileNames(in: folder) {
      guard let original = contents(of: folder + "/" + name), 1...2048 ~= original.count else { continue }
      for _ in 0..<8 {
        var bytes = original
        switch roll(4) {
        case 0: bytes[roll(bytes.count)] = UInt8(roll(256))
        case 1: bytes.remove(at: roll(bytes.count))
        case 2: bytes.insert([0x0d, 0x0a, 0x00, 0x20, 0x3a, 0xff][roll(6)], at: roll(bytes.count + 1))
        default: bytes.removeLast(roll(bytes.count))
        }
        #expect(throws: Never.self, "\(name) as \(bytes)") { try target.check(bytes) }
      }
    }
  }
}

private let corpusFolder: String = {
  let file = #filePath
  let tests = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
  return tests + "/Fuzz/corpus/"
}()

private func fileNames(in folder: String) -> [String] {
  guard let directory = unsafe opendir(folder) else { return [] }
  defer { unsafe closedir(directory) }
  var names: [String] = []
  while let entry = unsafe readdir(directory) {
    let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    if !name.hasPrefix(".") { names.append(name) }
  }
  return names.sorted()
}

private func contents(of path: String) -> [UInt8]? {
  let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { return nil }
  defer { close(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = unsafe read(file, &chunk, chunk.count)
    if count <= 0 { return count == 0 ? bytes : nil }
    bytes += chunk[..<count]
  }
}
