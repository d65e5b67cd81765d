// HTTPDate — dates in header fields, in the one form that is still written (RFC 9110 §5.6.7).

import Memory

public enum HTTPDate {
  /// Seconds since the epoch of an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT"; nil for any other text, the obsolete forms included.
  public static func seconds(of text: Span<UInt8>) -> Int64? {
    guard text.count == 29, text[3] == 0x2c, text[4] == 0x20, text[7] == 0x20, text[11] == 0x20, text[16] == 0x20, text[19] == 0x3a,
      text[22] == 0x3a, text[25] == 0x20, text[26] == 0x47, text[27] == 0x4d, text[28] == 0x54,
      let day = number(text, 5, 2), let month = month(text, 8), let year = number(text, 12, 4), let hour = number(text, 17, 2),
      let minute = number(text, 20, 2), let second = number(text, 23, 2),
      1...31 ~= day, year >= 1, hour < 24, minute < 60, second <= 60
    else { return nil }
    return days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
  }

  private static func number(_ text: Span<UInt8>, _ start: Int, _ digits: Int) -> Int64? {
    var value: Int64 = 0
    for index in start..<start + digits {
      guard text[index] >= 0x30, text[index] <= 0x39 else { return nil }
      value = value * 10 + Int64(text[index] - 0x30)
    }
    return value
  }

  /// 1 to 12.
  private static func month(_ text: Span<UInt8>, _ start: Int) -> Int64? {
    switch (text[start] | 0x20, text[start + 1] | 0x20, text[start + 2] | 0x20) {
    case (0x6a, 0x61, 0x6e): 1
    case (0x66, 0x65, 0x62): 2
    case (0x6d, 0x61, 0x72): 3
    case (0x61, 0x70, 0x72): 4
    case (0x6d, 0x61, 0x79): 5
    case (0x6a, 0x75, 0x6e): 6
    case (0x6a, 0x75, 0x6c): 7
    case (0x61, 0x75, 0x67): 8
    case (0x73, 0x65, 0x70): 9
    case (0x6f, 0x63, 0x74): 10
    case (0x6e, 0x6f, 0x76): 11
    case (0x64, 0x65, 0x63): 12
    default: nil
    }
  }

  /// Days from the epoch to a day of the Gregorian calendar, counted in years that begin in March.
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400, yearOfEra = shifted % 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}

extension Buffer {
  /// Appends a date as it stands in header fields: "Sun, 06 Nov 1994 08:49:37 GMT". Needs 29 bytes.
  /// - Parameter seconds: since the epoch; years beyond 9999 are written as that.
  public mutating func append(httpDate seconds: Int64) {
    let seconds = Swift.min(Swift.max(seconds, -62_135_596_800), 253_402_300_799)
    var days = seconds / 86_400, rest = seconds % 86_400
    if rest < 0 { (days, rest) = (days - 1, rest + 86_400) }
    // Years begin in March, so that leap days are at their end.
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * month + 2) / 5 + 1
    let year = yearOfEra + era * 400 + (month >= 10 ? 1 : 0)
    append(threeLetters: (days % 7 + 7) % 7, of: "ThuFriSatSunMonTueWed")
    append(", ")
    append(twoDigits: day)
    append(.space)
    append(threeLetters: (month + 2) % 12, of: "JanFebMarAprMayJunJulAugSepOctNovDec")
    append(.space)
    append(twoDigits: year / 100)
    append(twoDigits: year % 100)
    append(.space)
    append(twoDigits: rest / 3600)
    append(.colon)
    append(twoDigits: rest / 60 % 60)
    append(.colon)
    append(twoDigits: rest % 60)
    append(" GMT")
  }

  private mutating func append(twoDigits value: Int64) {
    append(UInt8(truncatingIfNeeded: 0x30 + value / 10 % 10))
    append(UInt8(truncatingIfNeeded: 0x30 + value % 10))
  }

  private mutating func append(threeLetters index: Int64, of names: StaticString) {
    names.withUTF8Buffer { text in
      for place in 0..<3 {
        let position = Int(index) * 3 + place
        append(position < text.count ? unsafe text[position] : .space)
      }
    }
  }
}
