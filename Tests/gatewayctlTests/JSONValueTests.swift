// Reading the master's JSON: what it writes is understood, and what is no JSON is nothing at all.

import Testing

@testable import gatewayctl

@Test func valuesAreRead() {
  let value = JSONValue(#" {"a": [1, -2, null, true, false], "b": {"c": "x"}, "d": 1.75e2} "#)
  #expect(value?["a"].list == [.number(1), .number(-2), .null, .bool(true), .bool(false)])
  #expect(value?["b"]["c"].string == "x")
  #expect(value?["missing"]["deeper"] == .null)
  #expect(value?["a"]["b"] == .null)
}

@Test func escapesAreRead() {
  #expect(JSONValue(#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#) == .string("\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1F600}"))
  #expect(JSONValue(#""é😀""#) == .string("é😀"))
}

@Test(arguments: [
  "", " ", "{", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "tru", "nul", "\"", "\"\\", "\"\\u12\"", "\"\\x\"", "-", "1 2", "[] x", "\"a\nb\"",
])
func whatIsNoJSONIsNothing(text: String) { #expect(JSONValue(text) == nil) }

@Test func numbersThatAreTooLongDoNotTrap() {
  _ = JSONValue("99999999999999999999999999")
  _ = JSONValue("-99999999999999999999999999")
}

@Test func depthIsBounded() {
  #expect(JSONValue(String(repeating: "[", count: 100_000)) == nil)
  #expect(JSONValue(String(repeating: "[", count: 20) + String(repeating: "]", count: 20)) != nil)
}

@Test func quotedTextIsReadBack() {
  for text in ["", "plain", "\"\\/", "\u{0}\u{1}\n\r\t\u{7f}\u{9b}", "é😀"] { #expect(JSONValue(JSONValue.quoted(text)) == .string(text)) }
}
