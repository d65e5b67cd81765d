// The rules of the PID file, tried in a directory of our own.

import Testing

@testable import Kernel

private func scratch() throws -> String {
  let path = "/tmp/gateway-test-\(Process.id)-\(UInt32.random(in: 0 ... .max))"
  try Files.makeDirectory(path, mode: 0o700)
  return path
}

@Test func aPIDIsPositiveDecimalAndNothingElse() {
  func parse(_ text: String) -> ProcessID? { PIDFile.parse(Array(text.utf8)) }
  #expect(parse("1\n") == 1)
  #expect(parse("2147483647 \t\r\n") == 2_147_483_647)
  #expect(parse("42") == 42)
  for bad in ["", "\n", "0", "-1", "+1", " 1", "1x", "1 2", "2147483648", "99999999999999999999", "0x10", "1" + String(repeating: "\n", count: 31)] {
    #expect(parse(bad) == nil, "\(bad)")
  }
}

@Test func aPIDFileIsHeldAndRemoved() throws {
  let path = try scratch() + "/g.pid"
  #expect(PIDFile.state(of: path) == .notRunning)
  let file = try PIDFile(acquiring: path)
  #expect(PIDFile.state(of: path) == .running(Process.id))
  #expect(throws: PIDFileError.running(Process.id)) { try hold(path) }
  file.remove()
  #expect(FileFacts(path: path) == nil)
  #expect(PIDFile.state(of: path) == .notRunning)
}

@Test func aStaleFileIsReused() throws {
  let path = try scratch() + "/g.pid"
  try put("99999999 left behind by somebody long gone", path)
  #expect(PIDFile.state(of: path) == .notRunning)
  let file = try PIDFile(acquiring: path)
  #expect(PIDFile.state(of: path) == .running(Process.id))
  file.remove()
}

@Test func aHeldFileWithoutAnIDIsUnreadable() throws {
  let path = try scratch() + "/g.pid"
  let file = try PIDFile(acquiring: path)
  try put("nonsense that is longer than a process id", path)
  if case .unreadable = PIDFile.state(of: path) {} else { Issue.record("not reported") }
  file.remove()
}

@Test func whatIsNoRegularFileIsRefused() throws {
  let directory = try scratch()
  #expect(throws: PIDFileError.notRegular) { try hold(directory) }
  let target = directory + "/target"
  try put("", target)
  let link = directory + "/link"
  try makeLink(target, link)
  #expect(throws: PIDFileError.notRegular) { try hold(link) }
  let socket = directory + "/socket"
  let held = try BoundSocket.bind(unixPath: socket, mode: 0o600)
  #expect(throws: PIDFileError.notRegular) { try hold(socket) }
  _ = held.raw
}

@Test func aFileThatWasReplacedIsLeftAlone() throws {
  let path = try scratch() + "/g.pid"
  let file = try PIDFile(acquiring: path)
  Files.remove(path)
  try put("another's", path)
  file.remove()
  #expect(FileFacts(path: path) != nil)
}

private func hold(_ path: String) throws(PIDFileError) { _ = try PIDFile(acquiring: path).path }
