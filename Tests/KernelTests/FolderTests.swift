// Files below a directory: what is found, and what leads out; by the kernel as a whole and step by step, which must agree.

import Glibc
import Testing

@testable import Kernel

/// The outcome of opening a name: what is in the file, "directory" for one, or the error's number.
private enum Found: Equatable { case text(String), directory, other, error(CInt) }

private func look(_ open: (Span<UInt8>) throws(Errno) -> OpenFile, _ name: String) -> Found {
  let bytes = Array(name.utf8) + [0]
  do throws(Errno) {
    let file = try open(bytes.span)
    switch file.kind {
    case .directory: return .directory
    case .other: return .other
    case .regular: return .text("\(file.size)")
    }
  } catch {
    return .error(error.number)
  }
}

@Suite struct FolderTests {
  private let root: String

  init() throws {
    let directory = "/tmp/gateway-test-\(Process.id)-\(UInt32.random(in: 0 ... .max))"
    root = directory + "/root"
    for path in [directory, root, root + "/a", root + "/a/b", directory + "/out"] { try Files.makeDirectory(path, mode: 0o700) }
    try put("1", root + "/one")
    try put("22", root + "/a/two")
    try put("333", root + "/a/b/three")
    try put("secret", directory + "/out/secret")
    for (target, link) in [
      ("one", "to-one"), ("a/b", "to-b"), ("../one", "a/up"), ("../../one", "a/b/up-twice"), ("../../out/secret", "a/out"), ("../out", "to-out"),
      (directory + "/out/secret", "absolute"), ("loop", "loop"), ("nothing", "dangling"), ("a/up", "chain"), ("a/../one", "winding"), ("a/two/", "slash"),
      ("/", "to-root"), ("..", "to-parent"), (".", "to-itself"), ("a/b/../../..", "to-parent-too"),
    ] { try makeLink(target, root + "/" + link) }
    guard unsafe mkfifo(root + "/fifo", 0o644) == 0 else { throw Errno.current }
  }

  static let names = [
    "one", "a/two", "a/b/three", "a", "a/", "a/b/", "one/", "one/x", "missing", "a/missing", "missing/x", ".", "./one", "a/.", "a/..", "a/../one", "..", "../out/secret",
    "a/../../out/secret", "/one", "a//two", "to-one", "to-b", "to-b/three", "to-b/", "a/up", "a/b/up-twice", "to-b/up-twice", "a/out", "to-out", "to-out/secret", "absolute",
    "loop", "loop/x", "dangling", "chain", "winding", "slash", "to-root", "to-root/etc/passwd", "to-parent", "to-parent/out/secret", "to-itself/one", "to-itself/to-itself/a/two",
    "to-parent-too", "to-parent-too/out/secret", "fifo", "to-one/", String(repeating: "x", count: 300), String(repeating: "a/../", count: 60) + "one",
    String(repeating: "to-itself/", count: 39) + "one", String(repeating: "to-itself/", count: 41) + "one",
  ]

  @Test(arguments: [Folder.Links.none, .beneath]) func stepsLeadWhereTheKernelLeads(_ links: Folder.Links) throws {
    let path = Array(root.utf8) + [0]
    let folder = try Folder(path.span)
    for name in Self.names {
      let byKernel = look({ bytes throws(Errno) in try folder.open(bytes, links) }, name), bySteps = look({ bytes throws(Errno) in try folder.walk(bytes, links) }, name)
      #expect(bySteps == byKernel, "\(name.prefix(40)), \(links)")
    }
  }

  @Test func stepsLeadOutOnlyWhereAllIsAllowed() throws {
    let path = Array(root.utf8) + [0]
    let folder = try Folder(path.span)
    for name in Self.names {
      for links in [Folder.Links.none, .beneath] { #expect(look({ bytes throws(Errno) in try folder.walk(bytes, links) }, name) != .text("6"), "\(name)") }
    }
    #expect(look({ bytes throws(Errno) in try folder.walk(bytes, .all) }, "to-out/secret") == .text("6"))
    #expect(look({ bytes throws(Errno) in try folder.walk(bytes, .beneath) }, "winding") == .text("1"))
    #expect(look({ bytes throws(Errno) in try folder.walk(bytes, .none) }, "winding") == .error(ELOOP))
  }

  @Test func noDescriptorStaysOpen() throws {
    let path = Array(root.utf8) + [0]
    let folder = try Folder(path.span)
    func next() throws -> CInt { try Descriptor(owning: unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)).raw }
    let before = try next()
    for name in Self.names { _ = look({ bytes throws(Errno) in try folder.walk(bytes, .beneath) }, name) }
    #expect(try next() == before)
  }
}
