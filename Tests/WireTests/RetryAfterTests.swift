// RetryAfterTests — what a response asks its receiver to wait.

import Memory
import Testing
import Wire

@Suite struct RetryAfterTests {
  private func milliseconds(_ text: String, wall: Int64 = 0) -> Int64 { RetryAfter.milliseconds(of: text.utf8Span.span, wall: wall) }

  @Test func seconds() {
    #expect(milliseconds("0") == 0 && milliseconds("1") == 1000 && milliseconds("120") == 120_000 && milliseconds("007") == 7000)
    for text in ["", "-1", "+1", "1.5", "1s", " 1", "soon", "99999999999999999999", "1 2"] { #expect(milliseconds(text) == .max, "\(text)") }
  }

  @Test func dates() {
    let wall: Int64 = 784_111_777_000_000  // Sun, 06 Nov 1994 08:49:37 GMT
    #expect(milliseconds("Sun, 06 Nov 1994 08:49:37 GMT", wall: wall) == 0)
    #expect(milliseconds("Sun, 06 Nov 1994 08:49:39 GMT", wall: wall) == 2000)
    #expect(milliseconds("Sun, 06 Nov 1994 08:49:30 GMT", wall: wall) == 0)
    #expect(milliseconds("Sunday, 06-Nov-94 08:49:37 GMT", wall: wall) == .max)
  }

  @Test(arguments: [
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
    ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799), ("Tue, 01 Mar 2000 00:00:00 GMT", 951_868_800), ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
  ])
  func datesToSeconds(text: String, seconds: Int64) { #expect(HTTPDate.seconds(of: text.utf8Span.span) == seconds) }

  @Test(arguments: [
    "", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nob 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 199x 08:49:37 GMT", "Sun, 06 Nov 1994 08-49-37 GMT", "\u{0}\u{0}\u{0}, 06 Nov 1994 08:49:6\u{0} GMT",
  ])
  func whatIsNoDate(text: String) { #expect(HTTPDate.seconds(of: text.utf8Span.span) == nil) }
}
