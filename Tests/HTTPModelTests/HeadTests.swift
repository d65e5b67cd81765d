// HeadTests — heads as records: extents, resetting, room for fields, the view over them; statuses.

import Testing

@testable import HTTPModel

@Suite struct HeadTests {
  @Test func extents() {
    let text = bytes("hello world")
    let extent = Extent(6..<11)
    #expect(holds(extent.lower == 6 && extent.upper == 11 && extent.count == 5 && !extent.isEmpty))
    #expect(holds(extent.text(in: text.span).equals("world")))
    #expect(holds(Extent.none.isEmpty && Extent.none.text(in: text.span).isEmpty))
    #expect(holds(Extent(3..<3).text(in: text.span).isEmpty))
  }

  @Test func aHeadHoldsAsManyFieldsAsItsLimit() {
    var head = RequestHead(fieldLimit: 2)
    let field = HeaderField(name: .other, nameText: Extent(0..<1), value: Extent(3..<4))
    let first = head.append(field), second = head.append(field), third = head.append(field)
    #expect(first && second && !third)
    #expect(holds(head.fieldCount == 2 && head.fieldLimit == 2))
    head.reset()
    #expect(holds(head.fieldCount == 0 && head.append(field)))
  }

  @Test func resettingForgetsEverything() {
    var head = RequestHead()
    head.method = .post
    head.flags = [.persistent, .version11]
    head.methodText = Extent(0..<4)
    head.target = Extent(5..<9)
    head.path = Extent(5..<7)
    head.query = Extent(8..<9)
    head.hasQuery = true
    head.host = Extent(1..<2)
    head.body = .chunked
    head.size = 7
    head.names = HeaderNameSet(.host)
    #expect(holds(head.isPersistent))
    head.reset()
    #expect(holds(head.method == .other && head.flags == [] && head.methodText == .none && head.target == .none && head.path == .none))
    #expect(holds(head.query == .none && !head.hasQuery && head.host == .none && head.body == .none && head.size == 0 && head.names == []))
  }

  @Test func resettingAResponse() {
    var head = ResponseHead(fieldLimit: 1)
    head.status = .ok
    head.reason = Extent(0..<1)
    head.flags = .version11
    head.body = .none
    head.names = HeaderNameSet(.date)
    _ = head.append(HeaderField(name: .date, nameText: .none, value: .none))
    head.reset()
    #expect(holds(head.status == Status(0) && head.reason == .none && head.flags == [] && head.body == .untilClose && head.names == []))
    #expect(holds(head.records.isEmpty))
  }

  @Test func fieldsAsText() {
    let text = bytes("Host: a\r\nVia: 1\r\nVia: 2\r\n")
    var head = RequestHead()
    _ = head.append(HeaderField(name: .host, nameText: Extent(0..<4), value: Extent(6..<7)))
    _ = head.append(HeaderField(name: .via, nameText: Extent(9..<12), value: Extent(14..<15)))
    _ = head.append(HeaderField(name: .via, nameText: Extent(17..<20), value: Extent(22..<23)))
    let list = head.headers(in: text.span)
    let count = list.count, records = list.records.count
    #expect(count == 3 && records == 3)
    let nameMatches = list.name(at: 1).equals("Via"), valueMatches = list.value(at: 2).equals("2")
    #expect(nameMatches && valueMatches)
    if let via = list.first(.via) { #expect(holds(via.equals("1"))) } else { Issue.record("Via is missing") }
    if list.first(.date) != nil { Issue.record("there is no Date") }
  }
}

@Suite struct StatusTests {
  @Test func bodies() {
    for code in UInt16(100)...599 {
      #expect(Status(code).forbidsBody == (code < 200 || code == 204 || code == 304))
    }
  }

  @Test func reasonsAreTextOrUnknown() {
    for code in UInt16(0)...999 {
      let reason = "\(Status(code).reason)"
      #expect(holds(!reason.isEmpty && reason.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f } && reason.utf8.count <= 40))
    }
    #expect("\(Status.ok.reason)" == "OK" && "\(Status(599).reason)" == "Unknown")
  }
}
