// A status as people see it.

import Testing

@testable import gatewayctl

@Test func columnsAreAsWideAsTheyNeedToBe() {
  var table = Table(numeric: [1])
  table.rows = [[Cell("name"), Cell("count"), Cell("note")], [Cell("a"), Cell("7"), Cell("")], [Cell("longer"), Cell("1234567"), Cell("x")]]
  #expect(table.text(indent: 1, colours: false) == " name      count  note\n a             7\n longer  1234567  x\n")
}

@Test func coloursDoNotCountAsWidth() {
  var table = Table()
  table.rows = [[Cell("ok", .good), Cell("x")], [Cell("longer"), Cell("y")]]
  #expect(table.text(indent: 0, colours: true) == "\u{1b}[32mok\u{1b}[0m      x\nlonger  y\n")
}

@Test func whatComesFromOutsideCommandsNoTerminal() {
  #expect(Cell("a\u{1b}[31m\u{9b}b\n").text == "a?[31m?b?")
}

@Test(arguments: [(-1, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min"), (86_400, "1 d 0 h"), (1_047_600, "12 d 3 h")])
func durations(seconds: Int64, text: String) { #expect(StatusText.duration(seconds) == text) }

private let status = #"""
  {"version":"1.0.0","state":"serving","master":{"pid":10,"started_at":0,"uptime_sec":61,"pid_file":"/run/g.pid","config_file":"","control_socket":null},
  "generation":2,"generations":[
    {"number":1,"state":"draining","started_at":0,"workers":[{"slot":0,"pid":11,"state":"draining","uptime_sec":60,"restarts":0,"heartbeat_age_ms":45000,
      "connections":1,"requests":5,"requests_active":1}]},
    {"number":2,"state":"serving","started_at":0,"workers":[{"slot":0,"pid":12,"state":"ready","uptime_sec":5,"restarts":1,"last_death":"killed by SIGKILL","heartbeat_age_ms":400,
      "connections":3,"requests":1234,"requests_active":2},{"slot":1,"pid":null,"state":"waiting","respawn_in_ms":1500,"restarts":4}]}],
  "listeners":[{"address":"127.0.0.1:80","sockets":2},{"address":"unix:/run/g.sock","sockets":1}],
  "last_reload":{"at":90,"ok":false,"errors":["g.json:3:1: error: no","1 more"],"warnings":[]},
  "totals":{"requests":1239,"connections_accepted":17,"upstream_connections_active":9,"upstream_connections_idle":4,"upstream_sessions_active":2,"upstream_streams_active":1},"restarts":1,
  "deaths":[{"generation":2,"slot":0,"pid":9,"reason":"killed by SIGKILL","at":95}]}
  """#

@Test func everythingIsThere() throws {
  let text = StatusText.text(try #require(JSONValue(status)), now: 100, colours: false)
  for part in [
    "gatewayd 1.0.0 is running\n", "1 min 1 s", "127.0.0.1:80 (2 sockets)", "unix:/run/g.sock (1 socket)", "1239 requests on 17 connections", "9 connections, 4 idle; 2 of them HTTP/2 with 1 stream\n", "(defaults)", "failed, 10 s ago:\n",
    "    g.json:3:1: error: no\n    1 more\n", "draining, silent for 45 s", "killed by SIGKILL", "waiting, 2 s", "5 s ago  worker 0.2  PID 9",
  ] { #expect(text.contains(part), "\(part)\n\(text)") }
  #expect(text.split(separator: "\n").allSatisfy { $0.last != " " })
}

@Test func whatIsMissingIsLeftOut() throws {
  for text in ["{}", "[]", #"{"generations":[{"workers":[{}]}],"deaths":[{}],"listeners":[{}],"last_reload":{"at":1}}"#] {
    #expect(StatusText.text(try #require(JSONValue(text)), now: 0, colours: true).contains("is \u{1b}[32mrunning"))
  }
}
