// The control socket's answers, and where the socket is.

import Testing

@testable import Control

@Test func anAnswerComesBack() {
  let answers = [ControlAnswer(.ok), ControlAnswer(.failed, ["a:1: error", "", "ok", "failed"]), ControlAnswer(.refused, [" leading"])]
  for answer in answers { #expect(ControlAnswer(decoding: answer.encoded) == answer) }
}

@Test func aLineBreakInALineForgesNothing() {
  let answer = ControlAnswer(.failed, ["first\nok\nrest"])
  #expect(ControlAnswer(decoding: answer.encoded) == ControlAnswer(.failed, ["first", "ok", "rest"]))
}

@Test func anAnswerWithoutItsEndIsNone() {
  #expect(ControlAnswer(decoding: "") == nil)
  #expect(ControlAnswer(decoding: " text\n") == nil)
  #expect(ControlAnswer(decoding: " text\nokay\n") == nil)
}

@Test func theSocketIsBesideThePIDFile() {
  #expect(RuntimePaths.controlSockets(pidFile: "/run/gateway/gatewayd.pid") == ["/run/gateway/control.sock", "/run/gateway/gatewayd.pid.sock"])
  #expect(RuntimePaths.controlSockets(pidFile: "/g.pid")[0] == "/control.sock")
  #expect(RuntimePaths.controlSockets(pidFile: "g.pid")[0] == "./control.sock")
}

@Test func anUpgradeHasAPathOrNone() {
  #expect(ControlRequest(line: "upgrade /opt/a b/gatewayd") == .upgrade("/opt/a b/gatewayd"))
  #expect(ControlRequest(line: "upgrade") == .upgrade("") && ControlRequest.upgrade("").line == "upgrade")
  #expect(ControlRequest.upgrade("/x").line == "upgrade /x")
}

@Test func anUpgradesCheckHasATime() {
  for request in [ControlRequest.upgrade("", seconds: 1), .upgrade("/a b", seconds: 3600), .upgrade("/x", seconds: 60), .upgrade("")] {
    #expect(ControlRequest(line: request.line) == request)
  }
  #expect(ControlRequest(line: "upgrade 5 /x") == .upgrade("/x", seconds: 5) && ControlRequest(line: "upgrade 5") == .upgrade("", seconds: 5))
  // What is no time belongs to the path, which is refused where it is not absolute.
  for word in ["0", "3601", "+5", "-5", "5x", "99999999999999999999"] { #expect(ControlRequest(line: "upgrade \(word) /x") == .upgrade("\(word) /x")) }
}

@Test func notesComeBeforeTheAnswerAndAreNoPartOfIt() {
  let text = "+why\n" + "+and\n" + ControlAnswer(.ok, ["+ is text here", "x"]).encoded
  for size in 1...text.utf8.count {
    var reader = AnswerReader()
    var notes: [String] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: size) { notes += reader.take(Array(bytes[start..<min(start + size, bytes.count)])) }
    #expect(notes == ["why", "and"])
    #expect(reader.answer == ControlAnswer(.ok, ["+ is text here", "x"]))
  }
  var unfinished = AnswerReader()
  #expect(unfinished.take(Array("+why".utf8)).isEmpty && unfinished.answer == nil)
}
