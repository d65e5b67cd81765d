// Manual — gatewayd(8), made from the text of --help.

import Configuration
import Control

enum Manual {
  static var roff: String {
    var text = """
      .TH GATEWAYD 8 "" "gateway \(Roff.escaped(Product.version))" "System administration"
      .SH NAME
      gatewayd \\- HTTP gateway
      .SH SYNOPSIS
      .B gatewayd
      [options]
      .SH DESCRIPTION
      A master process that owns listening sockets and shared memory, and workers that serve. Without
      .B \\-d
      it stays in the foreground.
      .SH OPTIONS

      """
    for line in Arguments.usage.split(separator: "\n") where line.hasPrefix("  ") {
      // Options stand before, their meaning behind, at least two blanks.
      let words = line.drop { $0 == " " }
      guard let border = words.firstRange(of: "  ") ?? words.firstRange(of: " do not") else { continue }
      text += ".TP\n.B \(Roff.escaped(String(words[..<border.lowerBound])))\n\(Roff.escaped(String(words[border.lowerBound...].drop { $0 == " " })))\n"
    }
    return text + """
      .SH SIGNALS
      .TP
      .B TERM, INT
      Drain and stop; a second one stops at once.
      .TP
      .B QUIT
      Drain and stop.
      .TP
      .B HUP
      Open the log files anew and reload.
      .TP
      .B USR1
      Open the log files anew.
      .TP
      .B USR2
      Have the program's file, as it is now, take over.
      .SH EXIT STATUS
      0: done. 1: it failed and said why. 2: the command line is wrong.
      .SH FILES
      .TP
      .I /etc/gateway/gateway.json
      The configuration.
      .TP
      .I /run/gateway/gatewayd.pid, /run/gateway/control.sock
      PID file and control socket.
      .SH SEE ALSO
      .BR gatewayctl (1),
      .BR gateway.json (5)

      """
  }
}
