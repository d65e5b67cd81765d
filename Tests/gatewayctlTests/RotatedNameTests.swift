// Which files of a log came between two: the names that rotation gives.

import Testing

@testable import gatewayctl

@Test func filesBetweenTwoAreThoseOfTheNumbersBetween() {
  #expect(RotatedName.between("/l/e-2026-01-31.log", "/l/e-2026-01-31-3.log") == ["/l/e-2026-01-31-1.log", "/l/e-2026-01-31-2.log"])
  #expect(RotatedName.between("/l/e-2026-01-31-2.log", "/l/e-2026-01-31-3.log") == [])
  #expect(RotatedName.between("e-2026-01-31-7", "e-2026-02-01-1") == ["e-2026-02-01"])
  #expect(RotatedName.between("/l/e-2026-01-31-3.log", "/l/e-2026-01-31.log") == [])
  for name in ["/l/error.log", "/l/e-2026-01.log", "/l/e-2026-01-31-x.log", "/l/e-2026-01-31-99999999999.log", "", "/", "-", "/2026-1-31.log"] {
    #expect(RotatedName.between(name, "/l/e-2026-01-31-3.log") == [], "\(name)")
  }
}
