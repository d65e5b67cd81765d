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
