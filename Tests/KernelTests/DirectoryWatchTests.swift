// What is watched so that a file's replacement is noticed, whichever way it is replaced.

import Glibc
import Testing

@testable import Kernel

@Suite struct DirectoryWatchTests {
  private let root: String

  init() throws {
    var template = Array("/tmp/watch-XXXXXX".utf8CString)
    root = unsafe template.withUnsafeMutableBufferPointer { unsafe String(cString: mkdtemp($0.baseAddress!)) }
    for directory in ["v1", "v2", "links", "links/deep"] { try Files.makeDirectory("\(root)/\(directory)", mode: 0o700) }
    try put("1", "\(root)/v1/site.pem")
    try put("2", "\(root)/v2/site.pem")
    try makeLink("v1", "\(root)/current")
    try makeLink("../../current/site.pem", "\(root)/links/deep/relative")
    try makeLink("\(root)/links/deep/relative", "\(root)/links/absolute")
    try makeLink("loop", "\(root)/loop")
  }

  @Test func everyLinkOnTheWayCounts() {
    #expect(Files.directories(onTheWayTo: "\(root)/v1/site.pem") == ["\(root)/v1"])
    #expect(Files.directories(onTheWayTo: "\(root)/current/site.pem") == [root, "\(root)/v1"])
    #expect(Files.directories(onTheWayTo: "\(root)/./links/../v2//site.pem") == ["\(root)/v2"])
    #expect(Files.directories(onTheWayTo: "\(root)/links/absolute") == ["\(root)/links", "\(root)/links/deep", root, "\(root)/v1"])
    #expect(Files.directories(onTheWayTo: "\(root)/missing/site.pem") == ["\(root)/missing"])
    #expect(Files.directories(onTheWayTo: "\(root)/loop") == [root])
    #expect(Files.directories(onTheWayTo: "/file") == ["/"])
    #expect(Files.directories(onTheWayTo: "/").isEmpty)
  }

  /// `#expect` for what cannot be copied into its message.
  private func check(_ condition: Bool, sourceLocation: SourceLocation = #_sourceLocation) { #expect(condition, sourceLocation: sourceLocation) }

  @Test func changesAreNoticed() throws {
    var watch = try DirectoryWatch()
    check(watch.watch(["\(root)/v1", root]).isEmpty)
    check(!watch.hasChanged())
    try put("3", "\(root)/v1/site.pem")
    check(watch.hasChanged())
    check(!watch.hasChanged())
    try makeLink("v2", "\(root)/new")
    #expect(unsafe rename("\(root)/new", "\(root)/current") == 0)
    check(watch.hasChanged())
    // What is no longer watched is silent, and so is what never was.
    check(watch.watch([root]).isEmpty)
    _ = watch.hasChanged()
    try put("4", "\(root)/v1/site.pem")
    try put("4", "\(root)/v2/site.pem")
    check(!watch.hasChanged())
    check(watch.watch(["\(root)/missing"]).map(\.directory) == ["\(root)/missing"])
  }
}
