// LogFileTests — opening, rotating and pruning.

import Glibc
import Kernel
import Plan
import Testing

@testable import Telemetry

@Suite struct LogFileTests {
  private let scratch = Scratch()
  private let noon = 1_769_860_800  // 2026-01-31 12:00 UTC
  private var today: String { EventLine.stamp(Int64(noon) * 1_000_000).prefix(10).description }
  private var tomorrow: String { EventLine.stamp(Int64(noon + 86_400) * 1_000_000).prefix(10).description }

  private func open(size: Int = 100, files: Int = 3) throws -> LogFile {
    try LogFile(path: "\(scratch.path)/error.log", maxFileSize: size, maxFiles: files, at: noon)
  }

  private func write(_ text: String, to file: borrowing LogFile) throws {
    let descriptor = try file.duplicate()
    let bytes = Array(text.utf8)
    unsafe _ = Glibc.write(descriptor.raw, bytes, bytes.count)
  }

  private func name(_ file: borrowing LogFile) -> String { file.currentPath }
  private func rotates(_ file: inout LogFile, _ seconds: Int) throws -> Bool { try file.rotateIfDue(at: seconds) }

  @Test func oneFileIsThePathItself() throws {
    let directory = Scratch()
    var file = try LogFile(path: "\(directory.path)/access.log", maxFileSize: 10, maxFiles: 1, at: noon)
    try write(String(repeating: "x", count: 100), to: file)
    #expect(try rotates(&file, noon + 86_400) == false)
    unsafe _ = rename("\(directory.path)/access.log", "\(directory.path)/access.log.1")
    try file.reopen()
    #expect(directory.files == ["access.log", "access.log.1"])
    unsafe _ = unlink("\(directory.path)/access.log")
    #expect(try rotates(&file, noon) == true)
    #expect(directory.files == ["access.log", "access.log.1"])
  }

  @Test func theNewestOfTodayIsContinued() throws {
    scratch.write("error-\(today).log", String(repeating: "x", count: 100))
    scratch.write("error-\(today)-1.log", "short")
    #expect(try name(open()) == "\(scratch.path)/error-\(today)-1.log")
    scratch.write("error-\(today)-1.log", String(repeating: "x", count: 100))
    #expect(try name(open()) == "\(scratch.path)/error-\(today)-2.log")
  }

  @Test func fullFilesAreFollowed() throws {
    var file = try open()
    #expect(name(file) == "\(scratch.path)/error-\(today).log")
    try write("short", to: file)
    #expect(try rotates(&file, noon + 5) == false)
    try write(String(repeating: "x", count: 100), to: file)
    #expect(try rotates(&file, noon + 10) == true)
    #expect(name(file) == "\(scratch.path)/error-\(today)-1.log")
    try file.reopen(at: noon + 11)
    #expect(name(file) == "\(scratch.path)/error-\(today)-1.log")
  }

  @Test func aNewDayHasANewFile() throws {
    var file = try open()
    try write("x", to: file)
    #expect(try rotates(&file, noon + 86_400) == true)
    #expect(name(file) == "\(scratch.path)/error-\(tomorrow).log")
  }

  @Test func aDeletedFileIsFollowed() throws {
    var file = try open()
    unsafe _ = unlink(file.currentPath)
    #expect(try rotates(&file, noon + 1) == true)
    #expect(scratch.files.count == 1)
    try write("x", to: file)
    #expect(!scratch.read(scratch.files[0]).isEmpty)
  }

  @Test func afterAFailureTheOldFileIsKeptForAWhile() throws {
    var file = try open()
    try write(String(repeating: "x", count: 100), to: file)
    let next = "\(scratch.path)/error-\(today)-1.log"
    unsafe _ = mkdir(next, 0o755)
    #expect(throws: LogFileError.self) { try rotates(&file, noon + 1) }
    #expect(try rotates(&file, noon + 5) == false)
    #expect(name(file) == "\(scratch.path)/error-\(today).log")
    unsafe _ = rmdir(next)
    #expect(try rotates(&file, noon + 11) == true)
    #expect(name(file) == next)
  }

  @Test func pruningSparesStrangersAndTheCurrentFile() throws {
    for name in ["error-2025-01-01.log", "error-2025-01-01-2.log", "error-2025-03-01.log", "error-old.log", "error.log", "error-2025-1-1.log", "other-2025-01-01.log"] {
      scratch.write(name, "x")
    }
    scratch.write("error-2025-06-01.log", "")
    let file = try open()
    #expect(scratch.files == [
      "error-2025-01-01-2.log", "error-2025-03-01.log", "error-2025-1-1.log", "error-\(today).log", "error-old.log", "error.log", "other-2025-01-01.log",
    ].sorted())
    #expect(name(file).hasSuffix("error-\(today).log"))
  }

  @Test func parentsAreMade() throws {
    let path = "\(scratch.path)/a/b/error.log"
    _ = try LogFile(path: path)
    var status = stat()
    #expect(unsafe stat(path, &status) == 0 && status.st_mode & 0o777 == 0o640 & ~0o022)
    unsafe _ = unlink(path)
    unsafe _ = rmdir("\(scratch.path)/a/b")
    unsafe _ = rmdir("\(scratch.path)/a")
  }

  @Test(arguments: ["/tmp/", "/tmp/.", "/tmp/..", "/proc/none/x/error.log", "/tmp"])
  func whatCannotBeOpened(path: String) {
    do throws(LogFileError) {
      _ = try LogFile(path: path)
      Issue.record("opened")
    } catch {
      #expect(error.description.contains(path))
    }
  }

  @Test func names() throws {
    let pattern = try #require(LogFilePattern(path: "/var/log/gateway/error.log"))
    #expect(pattern.path(of: LogFileName(date: 20_260_131, sequence: 0)) == "/var/log/gateway/error-2026-01-31.log")
    #expect(pattern.path(of: LogFileName(date: 20_260_131, sequence: 12)) == "/var/log/gateway/error-2026-01-31-12.log")
    #expect(pattern.parse("error-2026-01-31-12.log") == LogFileName(date: 20_260_131, sequence: 12))
    for stranger in ["error-2026-01-31-0.log", "error-2026-01-31-01.log", "error-2026-13-31.log", "error-2026-01-31.log.gz", "error-.log", "error-2026-01-31-1-1.log"] {
      #expect(pattern.parse(stranger) == nil)
    }
    let plain = try #require(LogFilePattern(path: ".hidden"))
    #expect(plain.stem == ".hidden" && plain.suffix.isEmpty && plain.directory.isEmpty)
  }

  @Test func filesBetweenTwoAreThoseOfTheNumbersBetween() {
    func between(_ old: String, _ new: String) -> [String] { LogFilePattern.paths(between: old, and: new) }
    #expect(between("/l/e-2026-01-31.log", "/l/e-2026-01-31-3.log") == ["/l/e-2026-01-31-1.log", "/l/e-2026-01-31-2.log"])
    #expect(between("/l/e-2026-01-31-2.log", "/l/e-2026-01-31-3.log") == [])
    #expect(between("e-2026-01-31-7", "e-2026-02-01-1") == ["e-2026-02-01"])
    #expect(between("e-2026-2026-01-31", "e-2026-2026-01-31-2") == ["e-2026-2026-01-31-1"])
    #expect(between("/l/e-2026-01-31-3.log", "/l/e-2026-01-31.log") == [])
    for name in ["/l/error.log", "/l/e-2026-01.log", "/l/e-2026-01-31-x.log", "/l/e-2026-01-31-99999999999.log", "", "/", "-", "/2026-1-31.log", "/k/e-2026-01-31-1.log"] {
      #expect(between(name, "/l/e-2026-01-31-3.log") == [], "\(name)")
    }
  }
}
