// Messages with descriptors, memory files, sockets on paths, ends of children.

import Testing

@testable import Kernel

@Test func aMessageCarriesDescriptors() throws {
  let pair = try MessageSocket.pair()
  let plan = try MemoryFile.sealed([1, 2, 3], name: "test")
  try pair.ours.send([9, 8], descriptors: [plan.raw, plan.raw])
  guard case .message(let bytes, var files) = pair.theirs.receive() else {
    Issue.record("no message")
    return
  }
  #expect(bytes == [9, 8])
  #expect(files.count == 2)
  if let file = files.take(0) {
    let contents = try MemoryFile.contents(of: file)
    #expect(contents == [1, 2, 3])
  } else {
    Issue.record("no descriptor")
  }
  #expect(files.raw(at: 0) == nil)
  #expect(files.raw(at: 2) == nil)
  #expect(files.raw(at: 1) != nil)
}

@Test func anEmptyChannelSaysSo() throws {
  let pair = try MessageSocket.pair()
  if case .none = pair.ours.receive() {} else { Issue.record("something came") }
  let waits = pair.ours.awaitInput(milliseconds: 0)
  #expect(!waits)
}

/// An end whose other end is closed.
private func lonelyEnd() throws(Errno) -> MessageSocket {
  let pair = try MessageSocket.pair()
  return pair.ours
}

@Test func aClosedChannelHasEnded() throws {
  let ours = try lonelyEnd()
  let waits = ours.awaitInput(milliseconds: 1000)
  #expect(waits)
  if case .ended = ours.receive() {} else { Issue.record("it has not ended") }
  do throws(Errno) {
    try ours.send([1])
    Issue.record("it was sent")
  } catch {
    #expect(error == .connectionReset)
  }
}

@Test func aSealedFileCannotBeChanged() throws {
  let file = try MemoryFile.sealed(Array("plan".utf8), name: "test")
  let contents = try MemoryFile.contents(of: file)
  #expect(contents == Array("plan".utf8))
  // Neither may it be mapped for writing, nor is a table good for what must not change.
  do throws(Errno) {
    _ = try SharedMapping(file, byteCount: 4)
    Issue.record("it was mapped")
  } catch {
    #expect(error == .permissionDenied || error == .other(1))
  }
  let table = try MemoryFile.table(size: 4096, name: "test")
  #expect((try? MemoryFile.contents(of: table)) == nil)
}

@Test func aUnixSocketReplacesOnlyAStaleOne() throws {
  let directory = "/tmp/gateway-test-\(Process.id)-\(UInt32.random(in: 0 ... .max))"
  try Files.makeDirectory(directory, mode: 0o700)
  let path = directory + "/s"
  do {
    let first = try BoundSocket.bind(unixPath: path, mode: 0o600)
    try BoundSocket.listen(first, backlog: 1)
    #expect(FileFacts(path: path)?.permissions == 0o600)
    #expect(throws: Errno.addressInUse) { try bind(path) }
  }
  // Nobody listens there any more.
  try bind(path)
  Files.remove(path)
  try put("text", path)
  #expect(throws: Errno.exists) { try bind(path) }
}

private func bind(_ path: String) throws(Errno) { _ = try BoundSocket.bind(unixPath: path, mode: 0o600).raw }

@Test func aPortIsNotSharedWithAStranger() throws {
  let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
  let first = try BoundSocket.bind(address, shared: true)
  try BoundSocket.listen(first, backlog: 1)
  let port = BoundSocket.port(of: first)
  #expect(port != 0)
  let same = try #require(SocketAddress(host: "127.0.0.1", port: port))
  let second = try BoundSocket.bind(same, shared: true)
  let secondPort = BoundSocket.port(of: second)
  #expect(secondPort == port)
  #expect(throws: Errno.addressInUse) { _ = try BoundSocket.bind(same, shared: false).raw }
}

@Test func endsReadWell() {
  #expect(ChildEnd.exited(3).text == "exit code 3")
  #expect(ChildEnd.killed(signal: 9).text == "killed by SIGKILL")
  #expect(Errno.noSuchFile.text == "No such file or directory")
}

@Test func pathsAreTakenApart() {
  #expect(Files.directory(of: "/a/b") == "/a")
  #expect(Files.directory(of: "/b") == "/")
  #expect(Files.directory(of: "b") == ".")
  #expect(Files.absolute("/x") == "/x")
  #expect(Files.absolute("x").hasSuffix("/x"))
}

@Test func accountsAreLookedUp() throws {
  #expect(try Identity.named(user: "", group: "") == nil)
  #expect(try Identity.named(user: "root", group: "")?.user == 0)
  #expect(throws: IdentityError.unknownUser("no-such-user")) { try Identity.named(user: "no-such-user", group: "") }
  #expect(throws: IdentityError.unknownGroup("no-such-group")) { try Identity.named(user: "root", group: "no-such-group") }
}
