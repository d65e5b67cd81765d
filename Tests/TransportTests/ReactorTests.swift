// ReactorTests — the order of a turn, with a delegate that writes down what it is told.

import Kernel
import Testing

@testable import Transport

private struct Recorder: ReactorDelegate, ~Copyable {
  var turns = 0
  var events = 0
  var newSeconds = 0
  var waits: [CInt] = []
  var log: [String] = []
  private let poller: Epoll
  private let listener: Listener

  init() throws {
    let poller = try Epoll()
    let address = try #require(SocketAddress(host: "127.0.0.1", port: 0))
    let listener = try Listener(at: address, backlog: 4, reusePort: false)
    try poller.watch(listener.descriptor, token: 42)
    self.poller = poller
    self.listener = listener
  }

  borrowing func connect() throws -> Socket {
    let bound = listener.address
    let address = try #require(bound)
    var isConnected = false
    return try Socket.connect(to: address, isConnected: &isConnected)
  }

  borrowing func wait(into events: inout EventList, milliseconds: CInt) { poller.wait(into: &events, milliseconds: milliseconds) }

  mutating func turnBegan(_ clock: borrowing Clock, isNewSecond: Bool) {
    turns += 1
    if isNewSecond { newSeconds += 1 }
    log.append("began")
  }

  mutating func handle(_ event: Event) {
    if event.token == 42 { events += 1 }
    log.append("event")
  }

  mutating func turnEnded() -> CInt? {
    log.append("ended")
    return turns < 4 ? 5 : nil
  }
}

@Suite struct ReactorTests {
  @Test func aTurnBeginsHandlesAndEnds() throws {
    var recorder = try Recorder()
    let socket = try recorder.connect()
    var reactor = Reactor()
    reactor.run(&recorder)
    #expect(recorder.turns == 4 && recorder.newSeconds >= 1)
    #expect(recorder.events == 1)  // edge-triggered: told once
    #expect(recorder.log.prefix(2) == ["began", "ended"] && recorder.log.last == "ended")
    #expect(recorder.log.split(separator: "ended", omittingEmptySubsequences: true).allSatisfy { $0.first == "began" })
    _ = consume socket
  }
}
