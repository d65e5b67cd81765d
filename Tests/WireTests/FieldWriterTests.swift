// FieldWriterTests — fields copied in runs are the same text as fields written one by one.

import HTTPModel
import Memory
import Testing

@testable import Wire

@Suite struct FieldWriterTests {
  private static let names: [HeaderName] = [.host, .connection, .accept, .te, .via, .contentType, .other]

  private func written(_ text: String, without dropped: HeaderNameSet = [], connection: Bool = false) -> String {
    let bytes = bytes("GET / HTTP/1.1\r\nHost: h\r\n\(text)\r\n")
    var head = RequestHead()
    var parser = RequestParser()
    guard case .complete = parser.parse(bytes.span, into: &head) else { return "not accepted" }
    var output = Buffer(capacity: bytes.count * 2)
    output.append(fields: head.records, of: bytes.span, without: dropped.union(HeaderNameSet(.host)), connection: connection)
    return WireTests.text(output.bytes)
  }

  @Test func canonicalLinesAreCopied() {
    #expect(written("A: b\r\nC: d e\r\nEmpty: \r\n") == "A: b\r\nC: d e\r\nEmpty: \r\n")
  }

  @Test func otherLinesAreRewritten() {
    #expect(written("A:b\r\nC:  d\r\nE:\tf\r\nG: h \r\nI:\r\nJ: \t\r\nK: l\r\n") == "A: b\r\nC: d\r\nE: f\r\nG: h\r\nI: \r\nJ: \r\nK: l\r\n")
  }

  @Test func droppedFieldsAreLeftOut() {
    let text = "TE: a\r\nA: b\r\nte: c\r\nVia: d\r\nE: f\r\n"
    #expect(written(text, without: HeaderNameSet(.te)) == "A: b\r\nVia: d\r\nE: f\r\n")
    #expect(written(text, without: [HeaderNameSet(.te), HeaderNameSet(.via)]) == "A: b\r\nE: f\r\n")
    #expect(written(text, without: HeaderNameSet(.other)) == "TE: a\r\nte: c\r\nVia: d\r\n")
  }

  @Test func fieldsNamedByConnectionAreLeftOut() {
    let text = "X-Hop: 1\r\nConnection: close, x-hop\r\nX-End: 2\r\nx-HOP: 3\r\nY: 4\r\nConnection: y\r\nX-Hop-2: 5\r\n"
    let dropped = HeaderNameSet(.connection)
    #expect(written(text, without: dropped, connection: true) == "X-End: 2\r\nX-Hop-2: 5\r\n")
    #expect(written(text, without: dropped) == "X-Hop: 1\r\nX-End: 2\r\nx-HOP: 3\r\nY: 4\r\nX-Hop-2: 5\r\n")
  }

  @Test(arguments: 1...100)
  func runsAreTheSameAsSingleLines(_ seed: UInt64) {
    var dice = Dice(seed)
    let separators = [": ", ": ", ": ", ":", ":  ", ":\t", ": \t"], ends = ["", "", "", " ", "\t", " \t "]
    let names = ["A", "Accept", "TE", "Via", "X-Hop", "Connection", "Content-Type", "A-Longer-Field-Name"]
    var head = "GET / HTTP/1.1\r\nHost: h\r\n"
    var hasType = false
    for _ in 0..<dice.roll(30) {
      let name = dice.pick(names)
      if name == "Content-Type" {
        if hasType { continue }
        hasType = true
      }
      let value = name == "Connection" ? dice.pick(["close", "x-hop", "a, via", ""]) : dice.pick(["", "v", "a longer value, with blanks", "caf\u{e9}"])
      head += name + dice.pick(separators) + value + dice.pick(ends) + "\r\n"
    }
    let bytes = bytes(head + "\r\n")
    var parsed = RequestHead()
    var parser = RequestParser()
    guard case .complete = parser.parse(bytes.span, into: &parsed) else {
      Issue.record("not accepted: \(head)")
      return
    }
    for checksConnection in [false, true] {
      var dropped = HeaderNameSet()
      for name in Self.names where dice.roll(4) == 0 { dropped.insert(HeaderNameSet(name)) }
      var runs = Buffer(capacity: bytes.count * 2), single = Buffer(capacity: bytes.count * 2)
      runs.append(fields: parsed.records, of: bytes.span, without: dropped, connection: checksConnection)
      let list = parsed.headers(in: bytes.span)
      for index in 0..<list.count {
        let record = parsed.records[index]
        if dropped.contains(record.name) { continue }
        let isProtected = record.name == .contentType || record.name == .via
        if checksConnection, !isProtected, parsed.records.isNamedByConnection(record, in: bytes.span) { continue }
        single.append(field: list.name(at: index), list.value(at: index))
      }
      #expect(holds(array(runs.bytes) == array(single.bytes)), "\(head)")
    }
  }

  /// What frames or attributes a message cannot be stripped by naming it (RFC 9110 §7.6.1).
  @Test func protectedFieldsStay() {
    let text = "Connection: content-type, authorization, via, x-forwarded-for, date, x-hop\r\nContent-Type: a\r\nVia: b\r\nX-Hop: c\r\n"
    let rest = "Authorization: d\r\nX-Forwarded-For: e\r\nDate: f\r\n"
    #expect(written(text + rest, without: HeaderNameSet(.connection), connection: true) == "Content-Type: a\r\nVia: b\r\n" + rest)
  }

  @Test func listsAreJoined() {
    let bytes = bytes("GET / HTTP/1.1\r\nHost: h\r\nVia: 1.0 a\r\nVia:\r\nX: y\r\nvia: 1.1 b, 1.1 c\r\n\r\n")
    var head = RequestHead()
    var parser = RequestParser()
    _ = parser.parse(bytes.span, into: &head)
    var output = Buffer(capacity: 200)
    output.append(viaOf: head.records, bytes.span)
    #expect(holds(text(output.bytes) == "1.0 a, 1.1 b, 1.1 c, "))
    output.removeAll()
    output.append(listOf: .forwardedFor, head.records, bytes.span)
    #expect(holds(output.isEmpty))
  }
}
